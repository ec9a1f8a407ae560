"""Models in bundles: fetched as the worker fetches them, and found by the worker where the bundle is applied."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from wheels import make_wheel, only_index

from tvmops.bench.sweep_file import load_sweep
from tvmops.bundle.archive import unpack_bundle, write_bundle
from tvmops.bundle.create import describe
from tvmops.bundle.models import collect_models, place_models, sweep_lines
from tvmops.digests import file_sha256
from tvmops.errors import BundleError
from tvmops.worker.models import fetch

MODEL, PICTURE = b"a model" * 100, b"a picture" * 100


def source(name: str, wheel_sha256: str, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"package": name, "version": "1.0", "wheel_sha256": wheel_sha256, "member": "content.bin", "sha256": sha256}


def packaged(index: Path, name: str, content: bytes) -> dict[str, Any]:
    """The source that names a wheel with this file, which the index has."""
    return source(name, file_sha256(make_wheel(index, name, "1.0", {"content.bin": content})), content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip finds something."""
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    return only_index(monkeypatch, tmp_path / "index")


def sweep_file(path: Path, *workloads: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"workloads": [{"name": f"w{n}", **one} for n, one in enumerate(workloads)]}))
    return path


def packed(tmp_path: Path, *sweeps: Path) -> Path:
    """A bundle with what these sweeps need."""
    part = collect_models([load_sweep(str(path)) for path in sweeps], lambda _: None)
    write_bundle(tmp_path / "t.bundle", {"hosts": {}, "not_in_it": part.not_in_it, **part.about}, part.files)
    return tmp_path / "t.bundle"


def test_what_workloads_fetch_is_found_without_an_index(index: Path, tmp_path: Path) -> None:
    model = packaged(index, "model", MODEL)
    image = packaged(index, "picture", PICTURE)
    workload = {"source": {"kind": "wheel", **model}, "task": {"kind": "classification", "image": image}}
    sweep = sweep_file(tmp_path / "my" / "mine.yml", workload, {"source": {"kind": "wheel", **model}})
    bundle = packed(tmp_path, sweep)
    shutil.rmtree(index)
    shutil.rmtree(tmp_path / "cache")

    folder, lock = unpack_bundle(bundle)
    assert "  sweep mine: 2 files of models" in describe(lock, "x")
    placed = place_models(folder, lock)
    assert sorted(path.name for path in placed) == ["model-1.0-py3-none-any.whl", "picture-1.0-py3-none-any.whl"]
    assert place_models(folder, lock) == []
    assert fetch({"kind": "wheel", **model}, tmp_path / "cache").path.read_bytes() == MODEL
    assert fetch({"kind": "wheel", **image}, tmp_path / "cache").path.read_bytes() == PICTURE
    line = sweep_lines(folder, lock)[0]
    assert load_sweep(line.rpartition("tvmops sweep ")[2]).workloads[0].document["source"]["package"] == "model"


def test_wrong_ones_in_the_cache_are_replaced_and_right_ones_left(index: Path, tmp_path: Path) -> None:
    model = packaged(index, "model", MODEL)
    folder, lock = unpack_bundle(
        packed(tmp_path, sweep_file(tmp_path / "m.yml", {"source": {"kind": "wheel", **model}}))
    )
    kept = tmp_path / "cache" / "wheels" / model["wheel_sha256"]
    right = (kept / "model-1.0-py3-none-any.whl").stat().st_mtime_ns
    assert place_models(folder, lock) == []
    assert (kept / "model-1.0-py3-none-any.whl").stat().st_mtime_ns == right
    (kept / "model-1.0-py3-none-any.whl").write_bytes(b"torn")
    (kept / "a-1.0-py3-none-any.whl").write_bytes(b"another, which the worker would take")
    assert place_models(folder, lock) == [kept / "model-1.0-py3-none-any.whl"]
    assert [path.name for path in kept.glob("*") if path.name != ".lock"] == ["model-1.0-py3-none-any.whl"]
    assert fetch({"kind": "wheel", **model}, tmp_path / "cache").path.read_bytes() == MODEL

    shutil.rmtree(kept)
    next(folder.rglob("*.whl")).write_bytes(b"changed")
    with pytest.raises(BundleError, match="was changed after the bundle was unpacked"):
        place_models(folder, lock)
    assert list(kept.glob("*.whl*")) == []


def test_a_name_that_leads_elsewhere_is_refused(index: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    lock = write_bundle(tmp_path / "b", {"hosts": {}, "not_in_it": []}, {f"models/{'ab' * 32}/x.whl": tmp_path / "x"})
    with pytest.raises(BundleError, match="its name does not fit its content"):
        place_models(unpack_bundle(tmp_path / "b")[0], lock)


def test_models_beside_the_sweep_file_travel_beside_it(index: Path, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "other.onnx"
    for path in (home / "onnx" / "m.onnx", home / "onnx" / "labels.json", elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    labelled = {"source": {"kind": "file", "path": "onnx/m.onnx"}, "task": {"config_member": "labels.json"}}
    away = {"source": {"kind": "file", "path": "../other.onnx"}}
    bundle = packed(tmp_path, sweep_file(home / "s.yml", labelled), sweep_file(tmp_path / "home" / "t.yml", away))
    shutil.rmtree(home)
    folder, lock = unpack_bundle(bundle)
    assert lock["not_in_it"] == [f"sweep t, workload w0: {home}/../other.onnx, which is not beside the sweep file"]
    assert place_models(folder, lock) == []
    document = load_sweep(str(folder / "sweeps" / "s" / "s.yml")).workloads[0].document
    model = fetch(dict(document["source"]), tmp_path / "cache")
    assert (model.path.read_text(), model.companion("labels.json")) == ("m.onnx", b"labels.json")


def test_files_of_a_darknet_network_travel_and_what_is_on_the_web_is_said(index: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("net.cfg", "names"):
        (home / name).write_text(name)
    weights = {"url": ["https://x/net.weights", "https://y/net.weights"], "sha256": "ab"}
    network = {
        "source": {"kind": "darknet", "cfg": "net.cfg", "weights": weights},
        "task": {"kind": "detection", "labels": {"path": "names"}},
    }
    folder, lock = unpack_bundle(packed(tmp_path, sweep_file(home / "s.yml", network)))
    assert lock["not_in_it"] == ["sweep s, workload w0: https://x/net.weights"]
    shutil.rmtree(home)
    document = load_sweep(str(folder / "sweeps" / "s" / "s.yml")).workloads[0].document
    assert Path(document["source"]["cfg"]["path"]).read_text() == "net.cfg"
    assert Path(document["task"]["labels"]["path"]).read_text() == "names"


def test_what_cannot_be_had_is_named_with_its_line(index: Path, tmp_path: Path) -> None:
    index.mkdir()
    gone = sweep_file(tmp_path / "g.yml", {"source": {"kind": "wheel", **source("gone", "ab" * 32, MODEL)}})
    with pytest.raises(BundleError, match=r"g.yml:2.*: workload w0: gone==1.0 cannot be downloaded"):
        packed(tmp_path, gone)
    vague = sweep_file(tmp_path / "v.yml", {"source": {"kind": "wheel", "wheel_sha256": "ab", "version": 1.0}})
    with pytest.raises(BundleError, match=r"v.yml:2.*: workload w0: a wheel needs 'package'"):
        packed(tmp_path, vague)


def test_two_sweep_files_of_one_name_are_refused(index: Path, tmp_path: Path) -> None:
    sweeps = [sweep_file(tmp_path / folder / "s.yml", {"source": {"kind": "generated"}}) for folder in ("a", "b")]
    with pytest.raises(BundleError, match=r"would both be sweeps/s/s\.yml"):
        packed(tmp_path, *sweeps)
