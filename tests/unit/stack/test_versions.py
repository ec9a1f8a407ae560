"""The version table: every row readable, and what follows from the figures."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tvmops.errors import ConfigError
from tvmops.stack.spec import load_stack, stack_names, version_tuple
from tvmops.stack.versions import _table, release, releases


def test_rows_are_complete_and_only_grow() -> None:
    rows = releases()
    assert (rows[0].tag, rows[-1].tag) == ("v0.6.1", "v0.27.0")
    assert [row.version for row in rows] == sorted(row.version for row in rows)
    for older, newer in itertools.pairwise(rows):
        for name in ("date", "cxx_standard"):
            assert getattr(older, name) <= getattr(newer, name), (newer.tag, name)
        for name in ("gcc_min", "cmake_min", "cmake_runtime", "python_min", "llvm_min", "llvm_max", "rpc_protocol"):
            old, new = getattr(older, name), getattr(newer, name)
            assert version_tuple(old) <= version_tuple(new), (newer.tag, name)
    for row in rows:
        assert version_tuple(row.cmake_declared) <= version_tuple(row.cmake_runtime) <= version_tuple(row.cmake_min)
        assert len(row.commit) == 40 or row.tag == "v0.27.0"


def test_cmake_path_needs_3_20_only_with_llvm() -> None:
    assert release("v0.14.0").cmake_for("full") == "3.18"
    assert (release("v0.15.0").cmake_for("full"), release("v0.15.0").cmake_for("runtime")) == ("3.20", "3.18")


def test_vta_has_a_hole_and_an_end() -> None:
    having = [row.tag for row in releases() if row.has("vta")]
    assert "v0.8.0" in having
    assert "v0.9.0" not in having
    assert "v0.10.0" not in having
    assert having[-1] == "v0.18.0"
    assert [row.tag for row in releases() if row.has("relay")][-1] == "v0.19.0"


@pytest.mark.parametrize(
    ("tag", "llvm", "expected"),
    [
        ("v0.19.0", "14.0.6", ""),
        ("v0.19.0", "12.0.0", "does not compile with LLVM 12.0.0"),
        ("v0.19.0", "12.0.1", ""),
        ("v0.12.0", "12.0.0", ""),
        ("v0.8.0", "15.0.7", "newer than v0.8.0 knows"),
        ("v0.26.0", "14.0.6", "too old: v0.26.0 takes LLVM 15 to 22"),
        ("v0.19.0", "20.0.0git", "is no release"),
        ("v0.19.0", "14.0.0svn", "is no release"),
    ],
)
def test_which_llvm(tag: str, llvm: str, expected: str) -> None:
    problem = release(tag).llvm_problem(llvm)
    assert expected in problem
    assert bool(problem) == bool(expected)


def test_pythons() -> None:
    assert release("v0.8.0").supports_python("3.6.9")
    assert not release("v0.8.0").supports_python("3.9")
    assert release("v0.18.0").supports_python("3.12")
    assert not release("v0.26.0").supports_python("3.9.2")


def test_an_unknown_release_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'v0\.19\.7' is no release.*\n.*did you mean 'v0\.\d+\.0'"):
        release("v0.19.7")
    with pytest.raises(ConfigError, match=r"known: .*v0\.19\.0"):
        release("main")


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "versions.yml"
    path.write_text('v0.1.0:\n  date: "2017-01-01"\n  python: "3"\n')
    with pytest.raises(ConfigError, match=r"versions\.yml:1:1: the row v0\.1\.0 cannot be used: .*no Python range"):
        _table(path)


@pytest.mark.parametrize("name", stack_names())
def test_stacks_agree_with_their_release(name: str) -> None:
    stack = load_stack(name)
    row = release(stack.tag)
    assert stack.version.startswith(stack.tag[1:])
    assert row.has(stack.api)
    assert set(stack.tophub) <= set(row.tophub)
    for source in stack.sources.values():
        if source["kind"] == "git" and not source["into"]:
            assert (source["ref"], source["commit"]) == (f"refs/tags/{stack.tag}", row.commit)
        if source.get("into"):
            assert source["into"] in row.submodules
    if stack.is_built:
        assert set(stack.tophub) == set(row.tophub)
        assert row.supports_python(stack.python_min)
