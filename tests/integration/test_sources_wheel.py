"""The sources that the wheel of TVM 0.19 carries: the real ones, as the stack relay-0.19 pins them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tvmops.digests import file_sha256
from tvmops.errors import StackError
from tvmops.stack import load_stack
from tvmops.stack.sources import SourceTree, fetch_source
from tvmops.stack.sources.tree import identity, read_entry, walk
from tvmops.stack.sources.wheel import fetch_wheel


@pytest.fixture(scope="module")
def tree() -> SourceTree:
    return fetch_source(load_stack("relay-0.19"), "wheel")


def test_the_wheels_tree(tree: SourceTree) -> None:
    assert not tree.complete  # a runtime can be built, the compiler lacks its headers
    assert (tree.folder / "cmake/config.cmake").is_file()
    assert (tree.folder / "3rdparty/dlpack/include/dlpack/dlpack.h").is_file()
    assert (tree.folder / "include/tvm/support/span.h").is_file()
    assert not list(tree.folder.glob("*.so"))
    assert tree.files > 3000
    assert tree.archive.stat().st_size < 15_000_000
    assert identity(read_entry(tree.folder, name) for name in walk(tree.folder)) == tree.identity


def test_its_archive_is_the_same_tree(tree: SourceTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    again = fetch_source(load_stack("relay-0.19"), str(tree.archive), sha256=file_sha256(tree.archive))
    assert (again.kind, again.identity, again.complete) == ("archive", tree.identity, False)
    assert again.archive.read_bytes() == tree.archive.read_bytes()


def test_the_overlays_header_compiles(tree: SourceTree) -> None:
    includes = ("include", "3rdparty/dlpack/include", "3rdparty/dmlc-core/include")
    command = ["g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Werror=overflow", "-DDMLC_USE_FOPEN64=0"]
    command += ["-DDMLC_USE_LOGGING_LIBRARY=<tvm/runtime/logging.h>", *(f"-I{tree.folder / one}" for one in includes)]
    done = subprocess.run(
        [*command, str(tree.folder / "src/runtime/aot_executor/aot_executor.cc")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "span.h" not in done.stderr


def test_another_wheel_than_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    small = {"kind": "wheel", "pin": "typing_extensions==4.16.0", "sha256": "0" * 64, "python": "3.11", "root": ""}
    with pytest.raises(StackError, match="not 0000"):
        fetch_wheel(small, lambda _: None)
    assert not list((tmp_path / "cache" / "sources" / "wheels").glob("*.whl"))
