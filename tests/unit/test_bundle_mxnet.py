"""MXNet's wheels in bundles: those that the board takes, fetched for it, and installed from the bundle."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import bundle_runs
import pytest
from board_program import PROJECT
from bundle_variables import variables_of
from wheels import make_wheel, only_index

from tvmops.bundle.create import Collector, describe
from tvmops.bundle.mxnet import platforms
from tvmops.digests import file_sha256
from tvmops.errors import BundleError

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
NAMES = {"mxnet": "mxnet-1.9.9-py3-none-any.whl", "numpy": "numpy-1.23.99-py3-none-any.whl"}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip finds something."""
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Collector, "_packages", lambda *_: {})  # apt has its own tests
    for name, file in NAMES.items():
        make_wheel(tmp_path / "index", name, file.split("-")[1], {f"{name}.py": ""})
    return only_index(monkeypatch, tmp_path / "index")


def sums(index: Path) -> dict[str, str]:
    return {name: file_sha256(index / file) for name, file in NAMES.items()}


def collector(folder: Path, sha256: dict[str, str], **variables: Any) -> Collector:
    """Of playbooks/mxnet.yml, for this machine, with tables that name small wheels."""
    host = {"ansible_connection": "local", "tvmops_python": sys.executable, **variables}
    tables = {
        "mxnet_wheels": [{"name": NAMES["mxnet"], "pin": "mxnet==1.9.9", "sha256": sha256["mxnet"], "cuda": ""}],
        "mxnet_numpy": [{"pythons": [PYTHON], "pin": "numpy==1.23.99", "sha256": [sha256["numpy"]]}],
        "mxnet_others": [],
        "mxnet_libraries": [],
    }
    facts = {"b1": {"ansible_distribution_release": "bookworm"}}
    return bundle_runs.collector(folder, {"b1": host}, PROJECT / "playbooks/mxnet.yml", tables, facts)


def test_the_wheels_that_the_board_takes_come_along(index: Path, tmp_path: Path) -> None:
    lock = collector(tmp_path, sums(index)).create(tmp_path / "t.bundle")
    assert lock["not_in_it"] == []
    assert sorted(Path(name).name for name in lock["files"]) == sorted(NAMES.values())
    assert any(line.endswith(", 2 wheels of MXNet") for line in describe(lock, "x"))
    shutil.rmtree(index)
    told = variables_of(tmp_path / "t.bundle", ["b1"])["b1"]
    assert sorted(path.name for path in Path(told["mxnet_wheelhouse"]).iterdir()) == sorted(NAMES.values())
    assert "mxnet_wheel" not in told


def test_a_wheel_of_ones_own_comes_along_beside_the_others(index: Path, tmp_path: Path) -> None:
    own = tmp_path / NAMES["mxnet"]
    shutil.move(index / NAMES["mxnet"], own)
    digest = file_sha256(own)
    known = {"mxnet": "00" * 32, "numpy": file_sha256(index / NAMES["numpy"])}
    given = {"mxnet_wheel": str(own), "mxnet_wheel_sha256": digest}
    lock = collector(tmp_path, known, **given).create(tmp_path / "t.bundle")
    assert lock["not_in_it"] == []
    own.unlink()
    told = variables_of(tmp_path / "t.bundle", ["b1"])["b1"]
    assert [path.name for path in Path(told["mxnet_wheelhouse"]).iterdir()] == [NAMES["numpy"]]
    assert file_sha256(Path(told["mxnet_wheel"])) == digest


def test_another_wheel_of_ones_own_is_refused(index: Path, tmp_path: Path) -> None:
    given = {"mxnet_wheel": str(index / NAMES["mxnet"]), "mxnet_wheel_sha256": "ab" * 32}
    with pytest.raises(BundleError, match=r"mxnet_wheel: .* has the SHA-256"):
        collector(tmp_path, sums(index), **given).create(tmp_path / "t.bundle")


def test_what_does_not_fit_or_cannot_be_had_is_said(index: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"b1: MXNet: no MXNet wheel fits: .*the CPU, not for CUDA 10\.2"):
        collector(tmp_path, sums(index), mxnet_cuda="10.2").create(tmp_path / "t.bundle")
    with pytest.raises(BundleError, match=r"(?s)MXNet: -m pip download failed.*DO NOT MATCH THE HASHES"):
        collector(tmp_path, {**sums(index), "numpy": "ab" * 32}).create(tmp_path / "t.bundle")
    with pytest.raises(BundleError, match=r"b1: MXNet: .*not found"):
        collector(tmp_path, sums(index), tvmops_python="/nonexistent/python").create(tmp_path / "t.bundle")
    assert not (tmp_path / "t.bundle").exists()


def test_tags_of_a_board() -> None:
    tags = platforms("2.18", "aarch64")
    assert tags[:3] == ["manylinux_2_5_aarch64", "manylinux1_aarch64", "manylinux_2_6_aarch64"]
    assert tags[-3:] == ["manylinux2014_aarch64", "manylinux_2_18_aarch64", "linux_aarch64"]
