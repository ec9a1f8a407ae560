"""Sweep files: what they mean, and that all their faults are shown at once with their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmops.bench.sweep_file import load_sweep
from tvmops.errors import ConfigError

GOOD = """\
name: tiny
description: Two little models
stack: fake-1
hosts: boards:!pynq
baseline: none
measure: {warmup: 1, repeat: 5, number: 2, min_repeat_ms: 0, threads: 2}
timeouts: {compile: 60, measure: 30.5}
workloads:
  - name: one
    description: the first
    source: {kind: generated, features: 8}
    inputs: {x: {shape: [1, 8], dtype: float32}}
    tolerance: {rtol: 0.001, atol: 0.0001}
  - name: two
    source: {kind: generated, seed: 3}
"""


def written(folder: Path, text: str, name: str = "tiny.yml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_good_file(tmp_path: Path) -> None:
    """Every key reaches its place; what is left out has its default."""
    sweep = load_sweep(written(tmp_path, GOOD))
    assert (sweep.name, sweep.stack, sweep.hosts, sweep.baselines) == ("tiny", "fake-1", "boards:!pynq", ())
    assert (sweep.measure.repeat, sweep.measure.number, sweep.measure.threads) == (5, 2, 2)
    assert (sweep.timeouts.compile, sweep.timeouts.measure, sweep.timeouts.baseline) == (60.0, 30.5, 300.0)
    one, two = sweep.workloads
    assert one.description == "the first"
    assert one.document == {
        "name": "one",
        "source": {"kind": "generated", "features": 8},
        "inputs": {"x": {"shape": [1, 8], "dtype": "float32"}},
        "tolerance": {"rtol": 0.001, "atol": 0.0001},
    }
    assert type(one.document["source"]) is dict
    assert two.document == {"name": "two", "source": {"kind": "generated", "seed": 3}}


def test_the_name_is_the_file_s_when_none_is_given(tmp_path: Path) -> None:
    """and everything but the workloads has a default."""
    sweep = load_sweep(written(tmp_path, "workloads: [{name: a, source: {kind: generated}}]", "nightly.yml"))
    assert (sweep.name, sweep.hosts, sweep.baselines, sweep.stack) == ("nightly", "all", ("onnxruntime",), None)
    assert sweep.measure.repeat == 20


def test_all_faults_at_once_with_places_and_suggestions(tmp_path: Path) -> None:
    """One run shows everything there is to correct."""
    text = """\
hostss: all
baseline: onxruntime
measure: {repeat: 0, warm_up: 3, threads: two}
timeouts: {compile: -1, mesure: 5}
workloads:
  - name: a b
    source: {package: x}
    inputs: {x: {shape: [1, 0], dtype: float23}}
    tolerances: {rtol: 1}
  - source: {kind: wheel}
    task: text
  - just text
  - {name: twin, source: {kind: wheel}}
  - {name: twin, source: {kind: wheel}}
"""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_sweep(path)
    said = str(caught.value)
    for fault in (
        "1:1: unknown sweep key 'hostss'",
        "did you mean 'hosts'?",
        "2:11: unknown baseline 'onxruntime'",
        "3:19: 'repeat' must be a whole number of at least 1, not 0",
        "3:22: unknown key of 'measure' 'warm_up'",
        "3:43: 'threads' must be a whole number of at least 1, not 'two'",
        "4:21: 'compile' must be a number of seconds above 0",
        "4:25: unknown key of 'timeouts' 'mesure'",
        "6:11: 'name' must be one word",
        "7:13: 'source' must be a mapping with a 'kind'",
        "8:25: the shape of 'x' must be a list of whole numbers above 0",
        "8:40: unknown dtype 'float23' of input 'x'",
        "9:5: unknown workload key 'tolerances'",
        "10:5: a workload needs a 'name'",
        "11:11: 'task' must be a mapping, not text",
        "12:5: a workload is a mapping, not text",
        "14:12: workload 'twin' is given twice (first at line 13)",
    ):
        assert f"{path}:{fault}" in said or fault in said, fault


@pytest.mark.parametrize("text", ["", "- a list\n", "workloads: []\n", "name: x\n"])
def test_a_file_without_workloads_is_refused(tmp_path: Path, text: str) -> None:
    """There would be nothing to do."""
    with pytest.raises(ConfigError, match=r"tiny\.yml:1:"):
        load_sweep(written(tmp_path, text))


def test_a_missing_model_file_is_a_fault_of_the_sweep_file(tmp_path: Path) -> None:
    """Files are named relative to the sweep file, and known by their content."""
    text = "workloads: [{name: a, source: {kind: file, path: models/a.onnx}}]"
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=r"tiny\.yml:1:50: no such file: .*models/a\.onnx"):
        load_sweep(path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.onnx").write_bytes(b"one")
    first = load_sweep(path).workloads[0].document["source"]
    (tmp_path / "models" / "a.onnx").write_bytes(b"two")
    second = load_sweep(path).workloads[0].document["source"]
    assert first["path"] == second["path"] == str(tmp_path / "models" / "a.onnx")
    assert first["sha256"] != second["sha256"]


def test_a_source_may_be_made_of_several_files(tmp_path: Path) -> None:
    text = """workloads:
  - name: a
    source: {kind: gluon, symbol: {path: a.json}, params: {path: a.params}}
  - {name: b, source: {kind: torch, call: "m:f", kwargs: {path: of the function}}}
"""
    path = written(tmp_path, text)
    (tmp_path / "a.json").write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"tiny\.yml:3:66: no such file: .*a\.params"):
        load_sweep(path)
    (tmp_path / "a.params").write_bytes(b"weights")
    gluon, torch = (workload.document["source"] for workload in load_sweep(path).workloads)
    assert gluon["symbol"]["path"] == str(tmp_path / "a.json")
    assert set(gluon["params"]) == {"path", "sha256"}
    assert torch["kwargs"] == {"path": "of the function"}


def test_an_unknown_sweep_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its short name, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    written(tmp_path / "sweeps", GOOD, "nightly.yml")
    assert load_sweep("nightly").name == "tiny"
    with pytest.raises(ConfigError, match="did you mean 'nightly'"):
        load_sweep("nihgtly")
