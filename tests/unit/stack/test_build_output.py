"""What a build prints: its steps, the first real error, memory that ran out."""

from __future__ import annotations

from typing import Any

import faults
import pytest
import running


def read(text: str) -> Any:
    reader = faults.Reader()
    for line in text.splitlines():
        reader.line(line)
    return reader


NINJA = """[1/3] Building CXX object CMakeFiles/a.dir/a.cc.o
FAILED: CMakeFiles/a.dir/b.cc.o
/usr/bin/c++ -Werror=return-type -c ../b.cc
../b.cc: In function 'int f()':
../b.cc:3:3: warning: unused variable 'error' [-Wunused-variable]
../b.cc:4:10: error: 'x' was not declared in this scope
../c.cc:9:1: error: expected ';'
ninja: build stopped: subcommand failed.
"""
FIRST_ERRORS = {
    NINJA: "../b.cc:4:10: error: 'x' was not declared in this scope",
    "-- Performing Test HAVE_X - Failed\nCMake Error at CMakeLists.txt:3 (find_package):\n  Could not find LLVM\n": (
        "CMake Error at CMakeLists.txt:3 (find_package):"
    ),
    "FAILED: a.o\nc++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n": (
        "c++: fatal error: Killed signal terminated program cc1plus"
    ),
    "/usr/bin/ld: skipping incompatible libx.so when searching for -lx\n/usr/bin/ld: cannot find -lx: No such file\n"
    "collect2: error: ld returned 1 exit status\n": "/usr/bin/ld: cannot find -lx: No such file",
    "/usr/bin/ld: a.o: in function `f':\na.cc:(.text+0x5): undefined reference to `tgetstr'\ncollect2: error: ld\n": (
        "a.cc:(.text+0x5): undefined reference to `tgetstr'"
    ),
    "[1/2] x\nninja: error: 'a.cc', needed by 'a.o', missing and no known rule to make it\n": (
        "ninja: error: 'a.cc', needed by 'a.o', missing and no known rule to make it"
    ),
    "FAILED: a.o\nsomething of its own kind\nninja: build stopped: subcommand failed.\n": "FAILED: a.o",
    "only this": "only this",
}


@pytest.mark.parametrize("log", FIRST_ERRORS)
def test_the_first_error_is_what_names_the_cause(log: str) -> None:
    found = read(log).first_error()
    assert found["text"] == FIRST_ERRORS[log]
    assert log.splitlines()[found["line"] - 1] == found["text"]
    assert found["text"] in found["context"]


def test_nothing_said_is_no_error() -> None:
    assert read("").first_error() is None


def test_the_context_of_an_error_is_bounded() -> None:
    found = read("a\n" * 1000 + "x.cc:1:1: error: bad\n" + "b" * 5000 + "\n" + "c\n" * 100000).first_error()
    assert len(found["context"]) == faults.BEFORE + 1 + faults.AFTER
    assert max(map(len, found["context"])) <= 400


@pytest.mark.parametrize(
    "line",
    [
        "c++: internal compiler error: Killed (program cc1plus)",
        "g++: fatal error: Killed signal terminated program cc1plus",
        "make[2]: *** [a.o] Error 137",
        "cc1plus: out of memory allocating 65536 bytes after a total of 9 bytes",
        "virtual memory exhausted: Cannot allocate memory",
        "/bin/sh: line 1:  1234 Killed",
        "Killed",
    ],
)
def test_memory_that_ran_out_is_recognised(line: str) -> None:
    assert read(line).out_of_memory


def test_other_errors_are_not_taken_for_it() -> None:
    assert not read(NINJA).out_of_memory


def test_steps_of_ninja_and_of_make_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    steps = running.Steps()
    for line in ("[1/3] Building CXX object a.o", "note", "[2/3] Building C object b.o", "[3/3] Linking CXX x.so"):
        steps.line(line)
    assert (steps.done, steps.total, steps.objects) == (3, 3, 2)
    assert capsys.readouterr().out.splitlines() == ["[1/3] Building CXX object a.o", "[3/3] Linking CXX x.so"]
    steps = running.Steps()
    steps.line("[ 50%] Building CXX object a.o")
    assert capsys.readouterr().out == "[50/100] Building CXX object a.o\n"
