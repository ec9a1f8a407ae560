"""Tuning logs in bundles: collected as provisioning would fetch them, and taken from the bundle where it is applied."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import bundle_runs
import pytest
from board_program import PROJECT, program, run
from bundle_variables import variables_of

from tvmops.bundle.create import Collector, describe
from tvmops.errors import BundleError

NAME = "mine_v1.0.log"
LOG = b'{"entity": 1}\n'
SHA256 = hashlib.sha256(LOG).hexdigest()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / NAME).write_bytes(LOG)
    return folder


def collector(folder: Path, hosts: dict[str, dict[str, Any]]) -> Collector:
    """Of playbooks/tophub.yml, for hosts with these variables."""
    return bundle_runs.collector(folder, hosts, PROJECT / "playbooks/tophub.yml")


def wanting(source: Path, sha256: str = SHA256) -> dict[str, Any]:
    place = {"kind": "folder", "path": str(source)}
    return {"tophub_files": [NAME], "tophub_sha256": {NAME: sha256}, "tophub_source": place}


def test_logs_come_along_and_are_found_without_their_source(source: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "t.bundle"
    hosts = {name: wanting(source) for name in ("b1", "b2")}
    lock = collector(tmp_path, hosts).create(bundle)
    assert lock["not_in_it"] == []
    assert (lock["hosts"]["b1"]["tophub"], list(lock["files"])) == ([NAME], [f"tophub/{NAME}"])
    assert "  b1: 0 packages, release no release, 1 tuning logs" in describe(lock, "x")

    shutil.rmtree(source)
    shutil.rmtree(tmp_path / "cache")
    told = variables_of(bundle, ["b2"])["b2"]
    again = {**wanting(source), **told}
    later = collector(tmp_path, {"b2": again})
    asked = later.tophub_question(later.run.hosts["b2"])
    assert asked["source"] == told["tophub_source"]
    status, printed = run(program("tophub_fetch"), json.dumps(asked))
    assert (status, json.loads(printed)["fetched"]) == (0, [NAME])
    assert (tmp_path / "cache" / "tophub" / NAME).read_bytes() == LOG


def test_logs_that_cannot_be_had_are_named_with_their_host(source: Path, tmp_path: Path) -> None:
    (source / NAME).unlink()
    with pytest.raises(BundleError, match=rf"b1: its tuning logs cannot be had: folder {source}: it has no {NAME}"):
        collector(tmp_path, {"b1": wanting(source)}).create(tmp_path / "t.bundle")
    assert not (tmp_path / "t.bundle").exists()


def test_a_question_that_the_program_cannot_read_is_told_in_its_words(source: Path, tmp_path: Path) -> None:
    odd = {**wanting(source), "tophub_source": {"kind": "folder", "path": ["a"]}}
    with pytest.raises(BundleError, match="b1: its tuning logs cannot be had: TypeError: expected str"):
        collector(tmp_path, {"b1": odd}).create(tmp_path / "t.bundle")


def test_one_name_with_two_contents_is_refused(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.mkdir()
    (other / NAME).write_bytes(LOG * 2)
    hosts = {"b1": wanting(source), "b2": wanting(other, hashlib.sha256(LOG * 2).hexdigest())}
    with pytest.raises(BundleError, match=f"b2: its {NAME} is another one"):
        collector(tmp_path, hosts).create(tmp_path / "t.bundle")
