"""From a matrix to jobs: keys, sharing, impossible pairs, and what is left to do when some of it is stored."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.bench import jobs
from tvmops.bench.cells import expand
from tvmops.bench.jobs import BoardIdentity, JobSet, key_of
from tvmops.bench.schedule import make_schedule
from tvmops.bench.sweep_file import Sweep, load_sweep
from tvmops.errors import ConfigError
from tvmops.inventory import Host

STACKS: dict[str, dict[str, Any]] = {
    "fake-1": {"name": "fake-1", "pins": ["numpy==2"], "extras": {"torch": ["torch==2"]}},
    "relax-0.27": {"name": "relax-0.27", "pins": []},
}
NATIVE = {"kind": "llvm", "mtriple": f"{platform.machine()}-linux-gnu", "num-cores": 2}
TEXT = """\
workloads:
  - {name: one, source: {kind: generated, seed: 1}}
  - {name: two, source: {kind: generated, seed: 2}}
"""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return make_sweep(tmp_path, TEXT)


def make_sweep(folder: Path, text: str) -> Sweep:
    path = folder / "s.yml"
    path.write_text(text, encoding="utf-8")
    return load_sweep(str(path))


def host(name: str, **variables: Any) -> Host:
    return Host(name, {"tvm_stack": "fake-1", "tvm_target": NATIVE, **variables})


def sets_of(sweep: Sweep, hosts: list[Host], **boards: BoardIdentity) -> list[JobSet]:
    return jobs.make_jobs(expand(sweep, hosts, STACKS), STACKS, boards)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_a_key_does_not_depend_on_the_order_of_keys(inputs: dict[str, Any]) -> None:
    """The same inputs are the same job, however they were written."""
    assert key_of(inputs) == key_of(dict(reversed(inputs.items())))


@given(json_values, json_values)
def test_different_inputs_have_different_keys(one: Any, other: Any) -> None:
    """Nothing that decides a result is lost on the way to the key."""
    same = repr(one) == repr(other)
    if same:
        assert key_of({"x": one}) == key_of({"x": other})
    elif one != other:
        assert key_of({"x": one}) != key_of({"x": other})


def test_hosts_with_the_same_target_share_their_compile_job(sweep: Sweep) -> None:
    """Two boards of a kind are compiled for once; they are measured one by one."""
    found = sets_of(sweep, [host("a"), host("b"), host("c", tvm_target={**NATIVE, "mcpu": "other"})])
    assert len({jobs_of.compile.key for jobs_of in found}) == 4
    assert len({jobs_of.measure.key for jobs_of in found}) == 6
    assert all(jobs_of.measure.needs == jobs_of.compile.key for jobs_of in found)


def test_what_changes_which_key(sweep: Sweep, tmp_path: Path) -> None:
    """A measurement belongs to one machine, release and setting; a baseline does not know of TVM at all."""
    (before, _) = sets_of(sweep, [host("a")], a=BoardIdentity("m1", "r1"))
    (machine, _) = sets_of(sweep, [host("a")], a=BoardIdentity("m2", "r1"))
    (release, _) = sets_of(sweep, [host("a")], a=BoardIdentity("m1", "r2"))
    longer = make_sweep(tmp_path, TEXT + "measure: {repeat: 30}\n")
    (repeat, _) = sets_of(longer, [host("a")], a=BoardIdentity("m1", "r1"))
    (target, _) = sets_of(sweep, [host("a", tvm_target={**NATIVE, "mcpu": "x"})], a=BoardIdentity("m1", "r1"))

    def changed(other: JobSet) -> tuple[bool, ...]:
        pairs = zip(before.jobs(), other.jobs(), strict=True)
        return tuple(one.key != two.key for one, two in pairs)

    assert changed(machine) == (False, True, True)
    assert changed(release) == (False, True, False)
    assert changed(repeat) == (False, True, True)
    assert changed(target) == (True, True, False)


def test_pins_of_an_extra_matter_to_the_workloads_that_need_it(tmp_path: Path) -> None:
    """A newer torch does not recompile models that never saw torch."""
    text = TEXT + "  - {name: net, source: {kind: torch_package}}\n"
    sweep = make_sweep(tmp_path, text)
    cells = expand(sweep, [host("a")], STACKS)
    newer = {**STACKS, "fake-1": {**STACKS["fake-1"], "extras": {"torch": ["torch==3"]}}}
    before = {item.compile.workload: item.compile.key for item in jobs.make_jobs(cells, STACKS, {})}
    after = {item.compile.workload: item.compile.key for item in jobs.make_jobs(cells, newer, {})}
    assert [name for name in before if before[name] != after[name]] == ["net"]


def test_threads_come_from_sweep_host_or_target(sweep: Sweep, tmp_path: Path) -> None:
    """In that order."""
    assert expand(sweep, [host("a")], STACKS)[0].threads == 2
    assert expand(sweep, [host("a", tvm_threads=3)], STACKS)[0].threads == 3
    fixed = make_sweep(tmp_path, TEXT + "measure: {threads: 1}\n")
    assert expand(fixed, [host("a", tvm_threads=3)], STACKS)[0].threads == 1


def test_a_host_may_have_its_own_measure_settings(tmp_path: Path) -> None:
    """For emulated and very slow boards; what the command line says still wins."""
    sweep = make_sweep(tmp_path, TEXT + "measure: {warmup: 4, repeat: 9, min_repeat_ms: 7}\n")
    slow = host("slow", tvm_measure={"warmup": 1, "repeat": 3}, tvm_baseline="none")
    found = {item.cell.host.name: item for item in sets_of(sweep, [host("a"), slow])}
    assert found["slow"].measure.inputs["measure"] == {
        "warmup": 1,
        "repeat": 3,
        "number": 1,
        "min_repeat_ms": 7,
        "threads": 2,
    }
    assert found["slow"].baselines == ()
    assert found["a"].measure.inputs["measure"]["repeat"] == 9
    assert len(found["a"].baselines) == 1
    assert found["a"].compile.key == found["slow"].compile.key
    assert expand(sweep, [slow], STACKS, repeat=5)[0].measure.repeat == 5


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"tvm_measure": 3}, "'tvm_measure' must be a mapping"),
        ({"tvm_measure": {"repeats": 3}}, "did you mean 'repeat'"),
        ({"tvm_measure": {"repeat": 0}}, "'repeat' must be a whole number of at least 1, not 0"),
        ({"tvm_measure": {"repeat": True}}, "'repeat' must be a whole number"),
        ({"tvm_measure": {"threads": 2}}, "write tvm_threads"),
        ({"tvm_baseline": "onnx"}, "unknown baseline 'onnx'"),
    ],
)
def test_measure_settings_of_a_host_are_checked(sweep: Sweep, variables: dict[str, Any], said: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigError) as caught:
        expand(sweep, [host("a", **variables)], STACKS)
    assert said in f"{caught.value} {caught.value.hint}"


def test_impossible_pairs_are_refused_all_at_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its host, its reason and what to do, before anything runs."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    hosts = [
        Host("bare", {"tvm_stack": "fake-1"}),
        Host("text", {"tvm_stack": "fake-1", "tvm_target": "llvm -mcpu=x"}, {"tvm_target": "hosts.yml:7"}),
        host("old", tvm_stack="relay-0.8"),
        host("near", tvm_stack="relax-0.72"),
        host("arm", tvm_target={"kind": "llvm", "mtriple": "aarch64-linux-gnu"}),
        host(
            "arm2", tvm_target={"kind": "llvm", "mtriple": "armv7l-linux-gnueabihf"}, tvm_cross_compiler="no-such-g++"
        ),
        host("busy", tvm_threads="many"),
        Host("none", {"tvm_target": NATIVE}),
        host("good"),
    ]
    with pytest.raises(ConfigError) as caught:
        expand(sweep, hosts, STACKS)
    said = str(caught.value)
    for part in (
        "bare: has no variable 'tvm_target'",
        "hosts.yml:7: text: 'tvm_target' must be a mapping",
        "{kind: llvm, mcpu: cortex-a53}",
        "old: unknown stack 'relay-0.8'",
        "did you mean 'relax-0.27'?",
        "arm: is aarch64, this machine is x86_64, and no 'tvm_cross_compiler' is given",
        "tvm_cross_compiler: aarch64-linux-gnu-g++",
        "arm2: cross compiler 'no-such-g++' is not installed",
        "busy: threads must be a whole number above 0",
        "none: no stack",
    ):
        assert part in said
    assert "good" not in said


def test_a_host_of_another_stack_is_refused(tmp_path: Path) -> None:
    """The board's runtime would not be the compiler's."""
    sweep = make_sweep(tmp_path, "stack: relax-0.27\n" + TEXT)
    with pytest.raises(ConfigError, match=r"a carries stack 'fake-1', but .*s\.yml wants 'relax-0\.27'"):
        expand(sweep, [host("a")], STACKS)


def schedule_of(found: list[JobSet], stored: set[str], compiled: set[str] = frozenset(), **more: Any) -> Any:
    rows = {key: object() for key in stored}
    settings = {"force": False, "unreachable": {}, **more}
    return make_schedule(found, rows, there=lambda kind, key: key in compiled, **settings)


def test_nothing_stored_is_run_again(sweep: Sweep) -> None:
    """All stored: nothing to do, whether or not the artifacts are still there."""
    found = sets_of(sweep, [host("a"), host("b")])
    every = {job.key for item in found for job in item.jobs()}
    done = schedule_of(found, every)
    assert (done.compiles, done.lanes) == ([], {})
    assert set(done.reused) == every
    assert done.planned == {"tune": 0, "compile": 2, "measure": 4, "baseline": 4}
    assert sum(schedule_of(found, every, force=True).todo.values()) == 10


def test_lost_artifacts_are_made_again_only_for_jobs_that_are_left(sweep: Sweep) -> None:
    """A stored compile runs again when something still needs its files and they are gone."""
    found = sets_of(sweep, [host("a")])
    every = {job.key for item in found for job in item.jobs()}
    missing = found[0].measure.key
    with_files = schedule_of(found, every - {missing}, compiled={found[0].compile.key})
    assert with_files.todo == {"tune": 0, "compile": 0, "measure": 1, "baseline": 0}
    without = schedule_of(found, every - {missing})
    assert without.todo == {"tune": 0, "compile": 1, "measure": 1, "baseline": 0}


def test_nothing_is_compiled_for_unreachable_hosts_alone(sweep: Sweep) -> None:
    """Their jobs stay, to be recorded as failed."""
    other = {**NATIVE, "mcpu": "other"}
    found = sets_of(sweep, [host("a"), host("gone", tvm_target=other)])
    left = schedule_of(found, set(), unreachable={"gone": "no route"})
    assert {cell.host.name for _, cell in left.compiles} == {"a"}
    assert set(left.lanes) == {"a", "gone"}
