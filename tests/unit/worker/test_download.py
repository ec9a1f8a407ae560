"""Files by URL: the right content, once; anything else is an error that names the URL."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tvmops.worker.failures import JobError
from tvmops.worker.models.download import download
from tvmops.worker.models.pinned import pinned_file

CONTENT = b"seven bytes, and some more"


@pytest.fixture
def served(tmp_path: Path) -> str:
    """A URL that urllib opens like any other."""
    (tmp_path / "served.bin").write_bytes(CONTENT)
    return (tmp_path / "served.bin").as_uri()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_fetched_once_and_there_without_its_source(tmp_path: Path, served: str, algorithm: str) -> None:
    pin = hashlib.new(algorithm, CONTENT).hexdigest()
    where = {"url": ["file:///nowhere/served.bin", served], algorithm: pin}
    path = pinned_file(where, "it", tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    (tmp_path / "served.bin").unlink()
    assert pinned_file(where, "it", tmp_path / "cache") == path
    assert not [left for left in path.parent.iterdir() if left.name not in (path.name, ".lock")]


def test_other_content_is_not_used(tmp_path: Path, served: str) -> None:
    wrong = "0" * 64
    with pytest.raises(JobError, match=f"served.bin has sha256 {hashlib.sha256(CONTENT).hexdigest()}, the workload"):
        download(served, wrong, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize(
    ("url", "pin", "kind", "words"),
    [
        ("file:///nowhere/x", "0" * 64, "Download", "file:///nowhere/x cannot be downloaded"),
        ("http://127.0.0.1:9/x", "0" * 64, "Download", "http://127.0.0.1:9/x cannot be downloaded"),
        ("gopher://x/y", "0" * 64, "Download", "gopher://x/y is no URL that can be fetched; known: http"),
        ("file:///x", "abc", "BadInput", "'abc' is no sha256 and no sha512"),
    ],
)
def test_what_cannot_be_had(tmp_path: Path, url: str, pin: str, kind: str, words: str) -> None:
    with pytest.raises(JobError) as caught:
        download(url, pin, tmp_path)
    assert caught.value.kind == kind
    assert words in caught.value.message
