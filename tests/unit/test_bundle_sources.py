"""Source trees in bundles: `tvmops build` takes them where there is no network, with the words that apply prints."""

from __future__ import annotations

import shlex
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from source_trees import stack_with, whole_tree

from tvmops.bundle.archive import unpack_bundle, write_bundle
from tvmops.bundle.create import describe
from tvmops.bundle.sources import build_commands, collect_sources
from tvmops.cli.build import build
from tvmops.digests import file_sha256
from tvmops.errors import ConfigError
from tvmops.stack.sources import fetch_source
from tvmops.stack.spec import Stack, load_stack


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack that pins an archive of this machine."""
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(whole_tree(tmp_path / "tree"), "tiny-1.0")
    return stack_with(tmp_path, archive={"kind": "archive", "path": str(path), "sha256": file_sha256(path), "strip": 1})


def test_the_packed_tree_is_taken_where_nothing_else_is(stack: Stack, tmp_path: Path) -> None:
    pinned = fetch_source(stack)
    told: list[str] = []
    part = collect_sources({"b2": stack, "b1": stack, "b3": replace(stack, name="other")}, told.append)
    bundle = tmp_path / "t.bundle"
    lock = write_bundle(bundle, {"hosts": {}, "not_in_it": [], **part.about}, part.files)
    assert lock["sources"]["tiny"]["identity"] == pinned.identity
    assert f"  sources of tiny: identity {pinned.identity[:16]}" in describe(lock, "x")

    for place in ("cache", "tree", "tiny.tar.gz"):
        path = tmp_path / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    lines = build_commands(*unpack_bundle(bundle), ["b1", "b2", "b9"])
    assert len(lines) == 1
    argv = shlex.split(lines[0].partition(": ")[2])
    options = dict(zip(argv[2::2], argv[3::2], strict=True))
    assert argv[:2] == ["tvmops", "build"]
    assert (options["--host"], options["--stack"]) == ("b1,b2", "tiny")
    assert {name.removeprefix("--") for name in options} <= {argument.name for argument in build.get_arguments()}
    with pytest.raises(ConfigError, match="is no archive that stack tiny pins"):
        fetch_source(stack, options["--source"])
    again = fetch_source(stack, options["--source"], sha256=options["--sha256"])
    assert (again.identity, again.complete, again.submodules) == (pinned.identity, pinned.complete, pinned.submodules)
    assert again.archive.read_bytes() == Path(options["--source"]).read_bytes()


def test_a_stack_of_wheels_has_no_sources(stack: Stack, tmp_path: Path) -> None:
    told: list[str] = []
    part = collect_sources({"b1": load_stack("relax-0.27")}, told.append)
    assert (part.files, part.about) == ({}, {"sources": {}})
    assert "they are made of wheels" in told[0]
