"""The axes of a sweep: targets, modes, tuning; what is refused, what options narrow, and which jobs come of it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from tvmops.bench import jobs
from tvmops.bench.cells import expand
from tvmops.bench.documents import for_tune, log_stem
from tvmops.bench.jobs import BoardIdentity, JobSet
from tvmops.bench.narrowing import Options, narrowed
from tvmops.bench.schedule import make_schedule
from tvmops.bench.sweep_file import Sweep, load_sweep
from tvmops.bench.tuning_choice import TuneSettings
from tvmops.errors import ConfigError
from tvmops.inventory import FactsCache, Host

STACKS: dict[str, dict[str, Any]] = {
    "relay": {"name": "relay", "api": "relay", "version": "0.19.0", "pins": [], "extras": {"tuning": ["xgboost==1"]}},
    "relax": {"name": "relax", "api": "relax", "version": "0.27.0", "pins": [], "extras": {}},
    "old": {"name": "old", "api": "relay", "version": "0.8.0", "pins": [], "extras": {}},
}
NATIVE = {"kind": "llvm", "mtriple": f"{platform.machine()}-linux-gnu", "num-cores": 2}
GPU = {"kind": "opencl", "device": "intel_graphics"}
VTA = {"kind": "ext_dev", "device": "vta", "model": "pynq"}
ONE = "workloads: [{name: one, source: {kind: generated}}]\n"


def read(folder: Path, text: str) -> Sweep:
    path = folder / "s.yml"
    path.write_text(text + ONE if "workloads:" not in text else text, encoding="utf-8")
    return load_sweep(str(path))


def host(name: str, stack: str = "relay", **variables: Any) -> Host:
    return Host(name, {"tvm_stack": stack, "tvm_target": NATIVE, **variables})


def sets_of(sweep: Sweep, *hosts: Host, **boards: BoardIdentity) -> list[JobSet]:
    return jobs.make_jobs(expand(sweep, hosts, STACKS), STACKS, boards)


def test_one_workload_in_all_its_variants(tmp_path: Path) -> None:
    """The product of targets and tuning; a device's target has the processor's as its host."""
    sweep = read(tmp_path, "targets: [default, gpu]\ntuning: [none, autotvm]\n")
    found = sets_of(sweep, host("a", tvm_targets={"gpu": GPU}))
    assert [one.cell.variant for one in found] == [
        {},
        {"tuning": "autotvm"},
        {"target": "gpu"},
        {"target": "gpu", "tuning": "autotvm"},
    ]
    assert found[2].compile.inputs["target"] == {**GPU, "host": NATIVE}
    assert len({job.key for one in found for job in one.jobs()}) == 4 + 4 + 2 + 1, "compile, measure, tune, baseline"
    assert found[1].measure.title == "measure one on a (autotvm)"
    assert found[3].compile.needs == found[3].tune.key
    assert found[3].tune.title == "tune one for opencl (autotvm)"


def test_a_sweep_without_axes_has_the_keys_it_always_had(tmp_path: Path) -> None:
    """Results that are stored stay good."""
    (only,) = sets_of(read(tmp_path, ""), host("a"))
    assert "tuning" not in only.compile.inputs
    assert set(only.measure.inputs) == {"revision", "kind", "compile", "measure", "board", "target"}


def test_identical_boards_tune_together(tmp_path: Path) -> None:
    """whatever they are called; a board of another model has a job of its own."""
    sweep = read(tmp_path, "tuning: autotvm\nbaseline: none\n")
    boards = {
        "a": BoardIdentity("1", model="m"),
        "b": BoardIdentity("2", model="m"),
        "c": BoardIdentity("3", model="n"),
    }
    found = sets_of(sweep, host("a"), host("b"), host("c"), **boards)
    assert found[0].tune.key == found[1].tune.key != found[2].tune.key
    schedule = make_schedule(found, {}, force=False, unreachable={"b": "gone"}, there=lambda kind, key: False)
    assert {tuple(names) for names in schedule.tune_hosts.values()} == {("a",), ("c",)}
    schedule = make_schedule(found, {}, force=False, unreachable={}, there=lambda kind, key: False)
    assert schedule.todo == {"tune": 2, "compile": 2, "measure": 3, "baseline": 0}
    assert sorted(schedule.tune_hosts.values()) == [["a", "b"], ["c"]]


def test_a_stored_tuning_runs_again_only_when_its_log_is_needed_and_gone(tmp_path: Path) -> None:
    """The compile job needs the log; nobody else does."""
    (only,) = sets_of(read(tmp_path, "tuning: autotvm\nbaseline: none\n"), host("a"))
    rows = {only.tune.key: object(), only.compile.key: object()}
    settings: dict[str, Any] = {"force": False, "unreachable": {}}
    whole = make_schedule([only], rows, there=lambda kind, key: True, **settings)
    assert whole.todo == {"tune": 0, "compile": 0, "measure": 1, "baseline": 0}
    no_artifact = make_schedule([only], rows, there=lambda kind, key: kind == "tune", **settings)
    assert no_artifact.todo == {"tune": 0, "compile": 1, "measure": 1, "baseline": 0}
    nothing = make_schedule([only], rows, there=lambda kind, key: False, **settings)
    assert nothing.todo == {"tune": 1, "compile": 1, "measure": 1, "baseline": 0}


def test_untuned_code_is_not_kept_waiting_by_trials(tmp_path: Path) -> None:
    """Every host measures what needs no trials first."""
    sweep = read(tmp_path, "tuning: [autotvm, none]\nbaseline: none\n")
    schedule = make_schedule(sets_of(sweep, host("a")), {}, force=False, unreachable={}, there=lambda *_: False)
    assert [cell.tuning.name for _, cell in schedule.lanes["a"]] == ["none", "autotvm"]
    assert [job.needs is None for job, _ in schedule.compiles] == [True, False]


def test_more_trials_go_on_with_the_same_log(tmp_path: Path) -> None:
    """The job is another, its log is not; another target has another log."""
    sweep = read(tmp_path, "tuning: autotvm\ntune: {trials: 8}\n")
    (few,) = sets_of(sweep, host("a"))
    (many,) = sets_of(narrowed(sweep, Options(trials=99)), host("a"))
    (other,) = sets_of(sweep, host("a", tvm_target={**NATIVE, "mcpu": "x"}))
    assert few.tune.key != many.tune.key
    assert log_stem(few.tune, few.cell) == log_stem(many.tune, many.cell) != log_stem(other.tune, other.cell)
    document = for_tune(few.tune, few.cell, [], 60)
    assert (document["tune"]["trials"], document["tune"]["method"], document["boards"]) == (8, "autotvm", [])


def test_settings_of_tune(tmp_path: Path) -> None:
    """Each reaches its place; all that is wrong is said at once."""
    sweep = read(tmp_path, "tune: {tuner: ga, trials: 7, tasks: 2, transfer: false, runner: local}\n")
    assert sweep.tune == TuneSettings(tuner="ga", trials=7, tasks=2, transfer=False, runner="local")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "tune: {tuner: gaa, trials: 0, runner: tracker, retries: 1, transfer: maybe}\n")
    for part in (
        "unknown tuner 'gaa'",
        "'trials' must be a whole number",
        "unknown runner",
        "'retries'",
        "true or false",
    ):
        assert part in str(caught.value)


def test_a_log_is_known_by_its_content(tmp_path: Path) -> None:
    """and by which method wrote it."""
    log = tmp_path / "mine.log"
    log.write_text('{"input": ["llvm", "t", [], {}], "config": {}, "result": [[1], 0, 1, 1], "version": 0.2}\n')
    sweep = read(tmp_path, "tuning: 'log:mine.log'\n")
    (first,) = sets_of(sweep, host("a"))
    assert first.cell.tuning.method == "autotvm"
    log.write_text(log.read_text() * 2)
    (second,) = sets_of(read(tmp_path, "tuning: 'log:mine.log'\n"), host("a"))
    assert first.compile.key != second.compile.key
    log.write_text("no record\n")
    for text, message in (
        ("log:mine.log", "holds no tuning record"),
        ("log:none.log", "no such tuning log"),
        ("x", "unknown"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(tmp_path, f"tuning: '{text}'\n")


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("targets: gpu\n", {}, "a: has no target 'gpu' among its 'tvm_targets'"),
        ("targets: gpu\n", {"tvm_targets": {"gpu": {"device": "x"}}}, "must be a mapping with 'kind'"),
        ("tuning: meta_schedule\n", {}, "tuning 'meta_schedule' is for stacks with relax"),
        ("tuning: ansor\n", {"tvm_stack": "relax"}, "tuning 'ansor' is for stacks with relay"),
        ("tuning: ansor\ntune: {tuner: gridsearch}\n", {}, "tuning 'ansor' has no tuner 'gridsearch'"),
        ("modes: sim\n", {"tvm_stack": "relax"}, "stack relax of a has none"),
        ("modes: sim\n", {"tvm_stack": "old"}, "stack old of a has none"),
        ("modes: sim\n", {}, "a: workload 'one' on VTA: .* in the host variable tvm_vta_tree"),
        ("modes: sim\n", {"tvm_vta_tree": "/none"}, "/none: no such folder"),
        ("targets: vta\n", {"tvm_targets": {"vta": VTA}}, "tvm_vta_tree"),
        ("targets: vta\n", {"tvm_targets": {"vta": VTA}, "tvm_stack": "relax"}, "stack relax of a has none"),
        (
            "workloads: [{name: one, source: {kind: testing, network: mlp}}]\n",
            {"tvm_stack": "relax"},
            "source 'testing' is imported by relay only",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, text: str, variables: dict[str, Any], message: str
) -> None:
    """With the host, and with what to do."""
    with pytest.raises(ConfigError, match=message):
        expand(read(tmp_path, text), [host("a", **variables)], STACKS)


def test_cuda_without_a_gpu_is_refused_once_the_board_has_said_so(tmp_path: Path, monkeypatch: Any) -> None:
    """Its facts decide; without facts it may have one."""
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))
    sweep, board = read(tmp_path, "targets: gpu\n"), host("a", tvm_targets={"gpu": "nvidia/jetson-nano"})
    (cell,) = expand(sweep, [board], STACKS)
    assert cell.target == {"tag": "nvidia/jetson-nano", "host": NATIVE}
    FactsCache().put(board, {"tvmops_cuda": None})
    with pytest.raises(ConfigError, match="a: its target 'gpu' is for CUDA"):
        expand(sweep, [board], STACKS)


def test_options_narrow_the_axes(tmp_path: Path) -> None:
    """and name what they do not know."""
    sweep = read(tmp_path, "targets: [default, gpu]\ntuning: [none, autotvm]\n")
    small = narrowed(sweep, Options(targets="default", tuning="none,tophub", modes="local", tasks=2))
    assert (small.targets, small.modes, small.tune.tasks) == (("default",), ("local",), 2)
    assert [choice.name for choice in small.tuning] == ["none", "tophub"]
    for options, message in (
        (Options(workloads="two"), "no such workload"),
        (Options(modes="remote"), "no such mode"),
        (Options(tuning="autotwm"), "unknown tuning 'autotwm'"),
        (Options(trials=0), "--trials 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            narrowed(sweep, options)


def test_references_are_seconds_by_workload(tmp_path: Path) -> None:
    """They are given in milliseconds, as tables have them."""
    sweep = read(tmp_path, "references: [{label: table, source: page 3, milliseconds: {one: 12.5}}]\n")
    (found,) = sweep.references
    assert (found.label, found.source, found.seconds) == ("table", "page 3", {"one": 0.0125})
    with pytest.raises(ConfigError, match="a reference needs a 'label'"):
        read(tmp_path, "references: [{label: table, milliseconds: {one: fast}}]\n")
