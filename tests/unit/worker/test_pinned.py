"""Files that workloads name: from this machine, from a URL, from a wheel; anything else is said."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tvmops.worker.failures import JobError
from tvmops.worker.models.pinned import is_file, pinned_file

CONTENT = b"a picture"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_by_path_and_by_url(tmp_path: Path) -> None:
    served = tmp_path / "served.bin"
    served.write_bytes(CONTENT)
    assert pinned_file({"path": str(served)}, "it", tmp_path / "cache") == served
    where = {"url": served.as_uri(), "sha256": SHA256}
    fetched = pinned_file(where, "it", tmp_path / "cache")
    served.unlink()
    assert fetched.read_bytes() == CONTENT
    assert pinned_file(where, "it", tmp_path / "cache") == fetched, "there without its source"


@pytest.mark.parametrize(
    ("where", "kind", "words"),
    [
        ("own.cfg", "BadInput", "the cfg needs either 'path' or 'url'"),
        ({"path": "/nowhere/own.cfg"}, "BadInput", "/nowhere/own.cfg: no such file (the cfg)"),
        ({"url": "file:///nowhere/own.cfg"}, "BadInput", "the cfg: a 'url' needs the file's 'sha256'"),
        ({"url": "file:///nowhere/own.cfg", "sha256": SHA256}, "Download", "file:///nowhere/own.cfg"),
        (
            {"package": "p", "version": "1", "member": "m"},
            "BadInput",
            "the cfg comes from a wheel and needs 'wh",
        ),
    ],
)
def test_what_cannot_be_had(tmp_path: Path, where: Any, kind: str, words: str) -> None:
    with pytest.raises(JobError) as caught:
        pinned_file(where, "the cfg", tmp_path)
    assert caught.value.kind == kind
    assert words in caught.value.message


def test_labels_by_number_are_no_file() -> None:
    assert is_file({"path": "names"})
    assert not is_file({"281": "tabby"})
    assert not is_file("names")
