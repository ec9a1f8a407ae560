"""Tuning logs on the controller: merging, picking the best, tophub's files, and the commands that do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tvmops.bench.tuning_logs import best, bring, export, known_logs, merge, read
from tvmops.cli import tuning as commands
from tvmops.errors import ConfigError
from tvmops.worker.tuning import logs


def line(task: str, config: int, seconds: float | None) -> str:
    """One of AutoTVM's."""
    row = {
        "input": ["llvm", task, [["TENSOR", [1, 8], "float32"]], {}],
        "config": {"index": config, "code_hash": None, "entity": [["tile", "sp", [-1, config]]]},
        "result": [[seconds if seconds is not None else 1e9], 0 if seconds is not None else 4, 1.5, 1700000000.0],
        "version": 0.2,
        "tvm_version": "0.19.0",
    }
    return json.dumps(row)


def make(folder: Path, name: str, *lines: str, **changes: Any) -> Path:
    """A log that a tune job could have left."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.autotvm.log"
    settings = {"stack": "relay-0.19", "target": {"kind": "llvm"}, "workload": {"name": name}}
    identity = logs.make_identity(settings, "autotvm", "ab12", {"tvm": "0.19.0", "llvm": "22"})
    with logs.opened(path, {**identity, **changes}) as log:
        for one in lines:
            log.append(one)
    return path


def costs(path: Path) -> dict[tuple[str, str], float | None]:
    return {(json.loads(record.task)[1], record.config): record.cost for record in read(path).records}


def test_merging_keeps_every_trial_once_and_names_all_workloads(tmp_path: Path) -> None:
    one = make(tmp_path, "one", line("dense", 1, 0.5), line("dense", 2, None))
    other = make(tmp_path, "other", line("dense", 1, 0.4), line("conv", 1, 0.1))
    merged, mirrored = tmp_path / "a.autotvm.log", tmp_path / "b.autotvm.log"
    merge([one, other], merged)
    merge([other, one], mirrored)
    assert merged.read_bytes() == mirrored.read_bytes()
    assert sorted(cost or 9 for cost in costs(merged).values()) == [0.1, 0.4, 9]
    merge([merged, one, other], mirrored)
    assert merged.read_bytes() == mirrored.read_bytes()
    assert read(merged).identity["workloads"] == {"one": "ab12", "other": "ab12"}


def test_the_best_becomes_a_file_of_tophubs_and_comes_back(tmp_path: Path) -> None:
    path = make(tmp_path, "net", line("dense", 1, 0.5), line("dense", 2, 0.3), line("conv", 1, None))
    tophub = tmp_path / "arm_cpu_v0.08.log"
    export(path, tophub)
    assert tophub.read_text() == line("dense", 2, 0.3) + "\n"
    brought = bring(tophub, tmp_path / "tuning")
    assert brought.path == tmp_path / "tuning" / "arm_cpu_v0.08.autotvm.log"
    assert brought.path.read_text() == tophub.read_text()
    assert known_logs(tmp_path / "tuning") == [brought.path]
    with pytest.raises(ConfigError, match="there is a log of this name"):
        bring(tophub, tmp_path / "tuning")
    best(brought.path, brought.path)
    assert brought.path.read_text() == tophub.read_text()


def test_only_autotvms_records_fit_tophub(tmp_path: Path) -> None:
    path = tmp_path / "x.ansor.log"
    path.write_text(json.dumps({"i": [["k", "llvm"], [[], []]], "r": [[0.1], 0, 1.0, 1], "v": "v0.6"}) + "\n")
    with pytest.raises(ConfigError, match=r"AutoTVM's records only, these are of ansor"):
        export(path, tmp_path / "y.log")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": {"kind": "cuda"}}, '{"kind": "llvm"} and {"kind": "cuda"}'),
        ({"versions": {"tvm": "0.19.0", "llvm": "15"}}, '"22" and "15"'),
    ],
)
def test_strangers_are_not_merged(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    one = make(tmp_path, "one", line("dense", 1, 0.5))
    other = make(tmp_path, "other", line("dense", 1, 0.4), **changes)
    with pytest.raises(ConfigError) as caught:
        merge([one, other], tmp_path / "c.log")
    assert all(word in caught.value.message for word in (str(one), str(other), words))
    assert not (tmp_path / "c.log").exists()


def test_a_file_that_is_no_log_is_not_overwritten(tmp_path: Path) -> None:
    path = make(tmp_path, "one", line("dense", 1, 0.5))
    precious = tmp_path / "thesis.txt"
    precious.write_text("everything")
    with pytest.raises(ConfigError, match=r"it is no log of tvmops"):
        best(path, precious)
    assert precious.read_text() == "everything"


def test_commands_say_what_they_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))
    commands.list_.body(None)
    assert "no tuning logs in" in capsys.readouterr().out
    path = make(tmp_path, "net", line("dense", 1, 0.5), line("dense", 2, None), "{torn")
    commands.merge.body(None, str(path), str(path), str(tmp_path / "c.log"))
    shown = capsys.readouterr().out
    assert "autotvm; 2 trials of 1 tasks; 1 failed; for net" in shown
    assert f"left out: {path}:3: no JSON" in shown
    commands.import_.body(None, str(tmp_path / "c.log"))
    capsys.readouterr()
    commands.list_.body(None, json_=True)
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["trials"], listed["identity"]["stack"]) == (2, "relay-0.19")
    with pytest.raises(Exit, match="--output is missing"):
        commands.best.body(None, str(path))
    with pytest.raises(Exit, match="no such tuning log"):
        commands.best.body(None, str(tmp_path / "nothing.log"), "x")
