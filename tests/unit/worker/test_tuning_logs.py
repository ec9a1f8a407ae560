"""Tuning logs: any bytes can be read, torn lines are repaired, strangers refused, merging loses nothing. No TVM."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.worker.failures import JobError
from tvmops.worker.tuning import logs
from tvmops.worker.tuning.databases import read_database, write_database
from tvmops.worker.tuning.plan import TUNERS, read_plan
from tvmops.worker.tuning.records import NotARecord, Record, best_per_task, parse, union

METHODS = ["autotvm", "ansor", "meta_schedule"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["input", "i", "r", "x"]), inner),
    max_leaves=12,
)


def autotvm_line(task: str = "dense", config: int = 1, seconds: float | None = 0.5) -> str:
    row = {
        "input": ["llvm", task, [["TENSOR", [1, 8], "float32"]], {}],
        "config": {"index": config, "code_hash": None, "entity": [["tile", "sp", [-1, config]]]},
        "result": [[seconds if seconds is not None else 1e9], 0 if seconds is not None else 4, 1.5, 1700000000.0],
        "version": 0.2,
        "tvm_version": "0.19.0",
    }
    return json.dumps(row)


def ansor_line(task: str = "dense", config: int = 1, seconds: float | None = 0.5) -> str:
    costs = [seconds] if seconds is not None else [1e10]
    row = {
        "i": [[f'["{task}"]', "llvm -keys=cpu", [8, 64], "", 1, []], [[], [["SP", config]]]],
        "r": [costs, 0 if seconds is not None else 4, 1.5, 1700000000],
        "v": "v0.6",
    }
    return json.dumps(row)


def database_line(task: int = 0, config: int = 1, seconds: float | None = 0.5) -> str:
    return json.dumps([task, [[["Split", config]], [seconds or 1e10], {"kind": "llvm"}, []]])


LINES = {"autotvm": autotvm_line, "ansor": ansor_line, "meta_schedule": database_line}


# Reading ----------------------------------------------------------------------------------------------------------


@given(st.sampled_from(METHODS), st.binary())
def test_any_bytes_can_be_read(method: str, data: bytes) -> None:
    found = logs.parse_lines(method, data, Path("x.log"))
    assert len(found.records) + len(found.faults) <= data.count(b"\n") + 1
    assert all(fault.startswith("x.log:") for fault in found.faults)


@given(st.sampled_from(METHODS), JSON)
def test_any_json_is_a_record_or_says_why_not(method: str, value: Any) -> None:
    try:
        parse(method, json.dumps(value))
    except NotARecord as error:
        assert str(error)


@pytest.mark.parametrize("method", METHODS)
def test_deep_nesting_and_constants_are_no_records(method: str) -> None:
    for text in ("[" * 100_000, "NaN", '{"input": [Infinity]}', "9" * 5000):
        with pytest.raises(NotARecord):
            parse(method, text)


@pytest.mark.parametrize("method", METHODS)
def test_records_have_costs_and_failed_trials_none(method: str) -> None:
    good, failed = (parse(method, LINES[method](seconds=seconds)) for seconds in (0.25, None))
    assert good.cost == 0.25
    assert failed.cost is None
    assert (good.task, good.config) == (failed.task, failed.config)


def test_corrupt_lines_are_named_with_their_number_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.autotvm.log"
    path.write_bytes(
        autotvm_line().encode() + b"\n\xff\xfe\n{]\n[1]\n# a comment\n" + autotvm_line("conv").encode() + b"\n"
    )
    found = logs.read_log(path)
    assert (found.method, len(found.records)) == ("autotvm", 2)
    assert [fault.split(": ")[0] for fault in found.faults] == [f"{path}:{number}" for number in (2, 3, 4)]


def test_a_file_without_records_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "page.log"
    path.write_text("<html>404</html>\n")
    with pytest.raises(JobError, match="no tuning log"):
        logs.read_log(path)


def test_what_tvm_reads_has_records_only(tmp_path: Path) -> None:
    path = tmp_path / "x.autotvm.log"
    path.write_bytes(autotvm_line().encode() + b"\n")
    assert logs.sound(path, "autotvm", tmp_path / "job") == path
    path.write_bytes(b"{]\n" + autotvm_line().encode() + b"\n\xff\n")
    (tmp_path / "job").mkdir()
    copy = logs.sound(path, "autotvm", tmp_path / "job")
    assert copy.read_text() == autotvm_line() + "\n"
    assert path.read_bytes().startswith(b"{]"), "the log itself stays as it is"


# Merging ----------------------------------------------------------------------------------------------------------

RECORDS = st.lists(
    st.builds(
        lambda task, config, cost: parse("autotvm", autotvm_line(task, config, cost)),
        st.sampled_from("abc"),
        st.integers(1, 3),
        st.none() | st.floats(1e-6, 10.0),
    ),
    max_size=12,
)


@given(RECORDS, RECORDS)
def test_merging_is_idempotent_and_commutative(one: list[Record], other: list[Record]) -> None:
    merged = union([*one, *other])
    assert union([*other, *one]) == merged
    assert union([*merged, *merged, *one]) == merged
    assert {(record.task, record.config) for record in merged} == {(r.task, r.config) for r in [*one, *other]}


@given(RECORDS)
def test_the_best_is_the_smallest_of_its_task(records: list[Record]) -> None:
    best = {record.task: record.cost for record in best_per_task(records)}
    for record in records:
        assert record.cost is None or best[record.task] <= record.cost
    assert set(best) == {record.task for record in records if record.cost is not None}
    assert best_per_task(union(records)) == best_per_task(records)


def test_databases_merge_by_workload_not_by_number(tmp_path: Path) -> None:
    for name, order in (("a", ["111", "222"]), ("b", ["222", "111"])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / logs.WORKLOADS).write_text("".join(json.dumps([word, "module " + word]) + "\n" for word in order))
        (folder / logs.RECORDS).write_text(database_line(0, 1, 0.5 if name == "a" else 0.25) + "\n")
    found = [read_database(tmp_path / name) for name in "ab"]
    assert [log.records[0].task for log in found] == ["111", "222"]
    records = union([record for log in found for record in log.records])
    write_database(tmp_path / "c", [tmp_path / "a", tmp_path / "b"], records)
    again = read_database(tmp_path / "c")
    assert {(record.task, record.cost) for record in again.records} == {("111", 0.5), ("222", 0.25)}
    assert not again.faults


def test_a_database_with_broken_lines_says_which(tmp_path: Path) -> None:
    (tmp_path / logs.WORKLOADS).write_text('["111", "x"]\n{]\n')
    (tmp_path / logs.RECORDS).write_text(f"{database_line()}\n{database_line(7)}\nnonsense\n")
    found = read_database(tmp_path)
    assert len(found.records) == 1
    assert len(found.faults) == 3


# Writing ----------------------------------------------------------------------------------------------------------


def identity(**changes: Any) -> dict[str, Any]:
    settings = {"stack": "relay-0.19", "target": {"kind": "llvm"}, "workload": {"name": "net"}}
    made = logs.make_identity(settings, "autotvm", "ab12", {"tvm": "0.19.0", "llvm": "22"})
    return {**made, **changes}


@given(st.integers(0, 400), st.sampled_from([b"", b"\n"]))
@settings(max_examples=40, deadline=None)
def test_a_line_cut_anywhere_is_repaired(tmp_path_factory: pytest.TempPathFactory, cut: int, end: bytes) -> None:
    path = tmp_path_factory.mktemp("logs") / "x.autotvm.log"
    whole = autotvm_line("one").encode() + b"\n"
    second = autotvm_line("two").encode()
    path.write_bytes(whole + second[:cut] + (end if cut >= len(second) else b""))
    with logs.opened(path, identity()) as log:
        log.append(autotvm_line("three"))
    found = logs.read_log(path, "autotvm")
    assert not found.faults
    names = [json.loads(record.task)[1] for record in found.records]
    assert names == (["one", "two", "three"] if cut >= len(second) else ["one", "three"])
    assert log.torn == (1 if 0 < cut < len(second) else 0)


def test_a_log_is_held_by_one_process_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.autotvm.log"
    program = textwrap.dedent("""
        import sys, json
        from pathlib import Path
        from tvmops.worker.tuning import logs
        with logs.opened(Path(sys.argv[1]), json.loads(sys.argv[2])):
            print("held", flush=True)
            sys.stdin.read()
    """)
    argv = [sys.executable, "-c", program, str(path), json.dumps(identity())]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(JobError, match=f"process {other.pid} tunes into this log now"),
            logs.opened(path, identity()),
        ):
            pass
        other.kill()
    with logs.opened(path, identity()):
        pass


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stack": "relay-0.18"}, ["stack", "relay-0.19", "relay-0.18"]),
        ({"target": {"kind": "cuda"}}, ["target", "llvm", "cuda"]),
        ({"versions": {"tvm": "0.19.0", "llvm": "15"}}, ["llvm", "22", "15"]),
        ({"versions": {"tvm": "0.18.0", "llvm": "22"}}, ["tvm", "0.19.0", "0.18.0"]),
        ({"workloads": {"net": "other"}}, ["workload 'net'", "ab12", "other"]),
        ({"workloads": {"yolo": "cd34"}}, ["workload 'yolo'"]),
    ],
)
def test_a_log_of_another_kind_is_refused_and_both_are_named(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    path = tmp_path / "x.autotvm.log"
    with logs.opened(path, identity()) as log:
        log.append(autotvm_line())
    before = path.read_bytes()
    with pytest.raises(JobError) as caught, logs.opened(path, identity(**changes)):
        pass
    assert all(word in caught.value.message for word in [*words, str(path)])
    assert path.read_bytes() == before
    if "workloads" in changes:
        logs.refuse_foreign(path, identity(**changes), workloads=False)


def test_the_name_has_the_compilers_llvm() -> None:
    path = logs.log_path(Path("/logs"), "net.a72.relay-0.19", "ansor", {"llvm": "22"})
    assert path == Path("/logs/net.a72.relay-0.19-llvm22.ansor.log")


# Plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_as_sweeps_write_it() -> None:
    tune = {
        "method": "autotvm",
        "tuner": "ga",
        "trials": 8,
        "tasks": None,
        "timeout": None,
        "transfer": True,
        "threads": 4,
    }
    boards = [{"name": "pi", "host": "127.0.0.1", "port": 9090}]
    plan = read_plan({"tune": tune, "boards": boards, "session_timeout": 90}, Path("x"))
    assert (plan.trials, plan.tasks, plan.tuner, plan.threads, plan.session_timeout) == (8, None, "ga", 4, 90)
    assert plan.boards == [{"name": "pi", "host": "127.0.0.1", "port": 9090, "key": ""}]
    assert plan.timeout is None and plan.cross_compiler is None


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        (None, "needs 'tune'"),
        ({"method": "autotvn"}, "tune.method must be one of autotvm, ansor, meta_schedule, not 'autotvn'"),
        ({"method": "ansor", "tuner": "gridsearch"}, "tune.tuner must be one of xgb, random"),
        ({"method": "autotvm", "trials": 0}, "tune.trials must be a whole number of at least 1, not 0"),
        ({"method": "autotvm", "trials": True}, "tune.trials"),
        ({"method": "autotvm", "timeout": math.nan}, "tune.timeout"),
        ({"method": "autotvm", "trails": 3}, "tune.trails: there is no such setting"),
    ],
)
def test_a_bad_plan_names_the_setting(tune: Any, words: str) -> None:
    with pytest.raises(JobError, match=words) as caught:
        read_plan({"tune": tune}, Path("x"))
    assert caught.value.kind == "BadInput"


def test_a_board_needs_an_address() -> None:
    with pytest.raises(JobError, match="boards, item 1: needs 'host' and 'port'"):
        read_plan({"tune": {"method": "autotvm"}, "boards": [{"host": "x"}]}, Path("x"))


def test_every_method_has_a_tuner_of_its_own() -> None:
    assert [read_plan({"tune": {"method": method}}, Path("x")).tuner for method in TUNERS] == ["xgb", "xgb", "random"]
