"""The build program with real tools: same bytes twice, nothing done twice, real errors named."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
from small_build import CMAKE, FILES, PART, PROGRAM, build, command, gated, here, prepare, spec
from tar_members import content

from tvmops.stack.build_spec import toolchain_file
from tvmops.stack.catalogue import diagnose
from tvmops.stack.toolchain import TRIPLES, cross

PYTHONS = ["/usr/bin/python3", *map(str, Path("~/.pyenv/versions").expanduser().glob("3.6.*/bin/python"))]


def library(work: Path) -> bytes:
    with tarfile.open(work / "out.tar.gz") as tar:
        return content(tar, "lib/libsmall.so")


def test_two_builds_in_two_folders_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "another" / "place"
    first = build(prepare(one, config="set(GREETING hello)\n"), cache_in=tmp_path)
    assert (first["outcome"], first["cache"], first["objects"]) == ("built", {"hits": 0, "misses": 4}, 4), first
    second = build(prepare(two, config="set(GREETING hello)\n"), cache_in=tmp_path)
    assert second["cache"] == {"hits": 4, "misses": 0}
    assert first["out"]["sha256"] == second["out"]["sha256"]
    assert b"hello../src/parts/0.ccJan  1 197000:00:00" in library(one)
    # Compiled without the cache it is the same, too.
    chain = {**spec()["toolchain"], "ccache": ""}
    third = build(prepare(tmp_path / "3", config="set(GREETING hello)\n", toolchain=chain))
    assert (third["cache"], third["objects"]) == (None, 4)
    assert third["out"]["sha256"] == first["out"]["sha256"]
    assert any(line.startswith("[5/5] Linking") for line in first["shown"]), first["shown"]
    assert first["jobs"]["compile"] <= len(os.sched_getaffinity(0))
    assert set(first["seconds"]) == {"unpack", "configure", "compile", "collect", "total"}


@pytest.mark.parametrize("python", PYTHONS)
def test_nothing_is_done_twice(tmp_path: Path, python: str) -> None:
    work = tmp_path / "w"
    assert build(prepare(work, config="set(GREETING a)\n"), python)["outcome"] == "built"
    again = build(prepare(work, config="set(GREETING a)\n"), python)
    assert (again["outcome"], again["shown"]) == ("unchanged", [])
    # One file touched: one object.
    files = {**FILES, "parts/2.cc": PART % 2 + "int more = 1;\n"}
    touched = build(prepare(work, files, config="set(GREETING a)\n"), python)
    assert (touched["outcome"], touched["objects"]) == ("built", 1)
    assert not any("configuring" in line for line in touched["shown"])
    # Another configuration: all of it, in the same folder.
    other = build(prepare(work, files, config="set(GREETING b)\n"), python)
    assert other["objects"] == 4
    assert b"b../src/parts" in library(work)
    # The result is damaged: packed again, nothing compiled.
    (work / "out.tar.gz").write_bytes(b"half")
    assert build(work / "spec.json", python)["objects"] == 0
    assert b"b../src/parts" in library(work)


def test_another_toolchain_begins_with_an_empty_folder(tmp_path: Path) -> None:
    work = tmp_path / "w"
    path = prepare(work)
    assert build(path)["notes"] == []
    (work / "build" / "left").touch()
    chain = {**spec()["toolchain"], "identity": {"version": "other"}}
    changed = build(prepare(work, toolchain=chain))
    assert changed["notes"] == ["other tools than last time: starting with an empty build folder"]
    assert changed["objects"] == 4
    assert not (work / "build" / "left").exists()


@pytest.mark.parametrize(("arch", "machine"), [("aarch64", 183), ("armv7l", 40)])
def test_crossing(tmp_path: Path, arch: str, machine: int) -> None:
    # CMake's own tests go the same way: find_package must not find this machine's libraries by running anything.
    files = {
        **FILES,
        "CMakeLists.txt": CMAKE + 'include(CheckCXXSourceCompiles)\ncheck_cxx_source_compiles("int main(){}" OK)\n',
    }
    result = build(prepare(tmp_path / "w", files, arch=arch))
    assert result["outcome"] == "built", result
    assert int.from_bytes(library(tmp_path / "w")[18:20], "little") == machine


def test_a_sysroot_is_where_headers_and_libraries_come_from(tmp_path: Path) -> None:
    triple = TRIPLES["armv7l"]
    root = tmp_path / "root"
    (root / "usr").mkdir(parents=True)
    subprocess.run(["cp", "-a", f"/usr/{triple}/include", root / "usr/include"], check=True)
    subprocess.run(["cp", "-a", f"/usr/{triple}/lib", root / "usr/lib"], check=True)
    for script in root.glob("usr/lib/*.so"):  # they name the place where they were installed
        if script.is_file() and not script.is_symlink() and script.read_bytes()[:1] == b"/":
            script.write_text(script.read_text().replace(f"/usr/{triple}/lib/", "/usr/lib/"))
    (root / "usr/include/only_there.h").write_text("#define GREETING_THERE 1\n")
    chain = cross(here(), "armv7l", sysroot=str(root), static_libstdcxx=True)
    assert chain.sysroot_identity
    files = {**FILES, "parts/9.cc": '#include <only_there.h>\n#include <string>\nstd::string s = "x";\n'}
    path = prepare(
        tmp_path / "w", files, arch="armv7l", toolchain_file=toolchain_file(chain),
        flags={"c": [], "cxx": [], "link": ["-static-libstdc++", "-static-libgcc"]},
    )  # fmt: skip
    result = build(path)
    assert result["outcome"] == "built", result
    needed = subprocess.run(
        [f"{triple}-readelf", "-d", str(tmp_path / "w/build/libsmall.so")], capture_output=True, text=True, check=True
    ).stdout
    assert "libc.so.6" in needed and "libstdc++" not in needed


def fault(extra: str = "", part: str = "", **changes: Any) -> tuple[dict[str, str], dict[str, Any]]:
    return {**FILES, "CMakeLists.txt": CMAKE + extra, "parts/5.cc": part}, changes


HIDDEN = {"CMAKE_FIND_USE_CMAKE_SYSTEM_PATH": "OFF", "CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH": "OFF",
          "CMAKE_FIND_USE_PACKAGE_REGISTRY": "OFF"}  # fmt: skip
# id in the catalogue -> a project that really fails so, and the step that fails.
CAUSED = {
    "B01": (*fault("find_package(LLVM REQUIRED CONFIG)\n", arguments=HIDDEN), "configure"),
    "B06": (*fault("cmake_minimum_required(VERSION 33.1)\n"), "configure"),
    "B07": (*fault("set_target_properties(small PROPERTIES CXX_STANDARD 1234)\n"), "configure"),
    "B08": (*fault("cmake_route(SET x)\n"), "configure"),
    "B09": (*fault(part="#include <dmlc/logging.h>\n"), "compile"),
    "B20": (*fault("add_custom_target(full ALL COMMAND cp ${CMAKE_SOURCE_DIR}/parts/1.cc /dev/full)\n"), "compile"),
    "B21": (*fault("target_compile_options(small PRIVATE -std=c++99)\n"), "compile"),
    "T08": (*fault("target_link_libraries(small ${CMAKE_SOURCE_DIR}/libother.so)\n"), "compile"),
    "T12": (*fault("target_link_options(small PRIVATE -nodefaultlibs -Wl,-z,defs)\n",
                   "#include <dlfcn.h>\nvoid *f() { return dlopen(0, 0); }\n"), "compile"),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSED)
def test_the_first_real_error_is_shown_and_known(tmp_path: Path, name: str) -> None:
    files, changes, step = CAUSED[name]
    tree: dict[str, str | bytes] = dict(files)
    if name == "T08":
        source = tmp_path / "other.c"
        source.write_text("int other;\n")
        target = tmp_path / "libother.so"
        subprocess.run([f"{TRIPLES['armv7l']}-gcc", "-shared", "-o", target, source], check=True)
        tree["libother.so"] = target.read_bytes()
    result = build(prepare(tmp_path / "w", tree, **changes))
    assert (result["outcome"], result["step"]) == ("failed", step), result
    found = diagnose([result["message"], *result["error"]["context"]])
    assert found is not None and found.id == name, result["error"]
    assert result["error"]["text"] in (tmp_path / "w" / "build.log").read_text()
    assert result["stderr"].startswith(result["message"])
    assert result["stderr"].splitlines()[-1] == f"the whole log: {tmp_path / 'w' / 'build.log'}"
    assert len(result["stderr"].splitlines()) <= 12


def test_other_wrong_input_is_refused_in_words(tmp_path: Path) -> None:
    work = tmp_path / "w"
    path = prepare(work, disk=1 << 60)
    assert "no room in" in build(path)["message"]
    path = prepare(work, archive_sha256="0" * 64)
    assert "has the SHA-256" in build(path)["message"]
    (work / "source.tar.gz").unlink()
    assert "there is no file" in build(path)["message"]
    path.write_text("{")
    assert "cannot be read" in build(path)["message"]
    chain = {"c": "/usr/bin/gcc", "cxx": "/usr/bin/g++", "strip": "strip", "cmake": "/nowhere/cmake", "ninja": "/n"}
    assert "/nowhere/cmake does not start" in build(prepare(work, toolchain=chain))["message"]
    path = prepare(tmp_path / "v", install=[{"file": "build/none.so", "to": "x"}])
    assert build(path)["message"] == "the build has left no build/none.so"


def test_a_clock_that_went_back_is_refused(tmp_path: Path) -> None:
    path = prepare(tmp_path / "w")
    assert build(path)["outcome"] == "built"
    later = time.time() + 5000
    os.utime(tmp_path / "w" / "build" / "build.ninja", (later, later))
    result = build(prepare(tmp_path / "w", {**FILES, "parts/7.cc": ""}))
    found = diagnose(result["message"])
    assert found is not None and found.id == "B19", result


def test_make_where_there_is_no_ninja(tmp_path: Path) -> None:
    result = build(prepare(tmp_path / "w", toolchain={**spec()["toolchain"], "ninja": "", "ccache": ""}))
    assert (result["outcome"], result["objects"], result["cache"]) == ("built", 4, None), result
    assert any(line.startswith("[100/100]") for line in result["shown"]), result["shown"]


def test_it_goes_on_unwatched_and_ends_when_asked_to(tmp_path: Path) -> None:
    path = prepare(tmp_path / "w", gated(tmp_path))
    process = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    until((tmp_path / "begun").exists)
    started = processes.tree(process.pid)[1:]
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert processes.gone(*started)
    (tmp_path / "begun").unlink()
    process = subprocess.Popen(command(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    process.stderr.close()
    until((tmp_path / "begun").exists)
    (tmp_path / "go").touch()
    assert process.wait(60) == 0
    assert build(path)["outcome"] == "unchanged"


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def test_the_program_explains_its_use() -> None:
    for arguments in ([], ["build"], ["probe", "x"]):
        done = subprocess.run(
            ["/usr/bin/python3", "-I", str(PROGRAM), *arguments], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "SPEC.json" in done.stderr
