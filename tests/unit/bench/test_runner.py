"""How a measurement is tried again: after an RPC failure once, after a lost connection once, and never for the rest."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tvmops.bench import job_files
from tvmops.bench.cells import Cell
from tvmops.bench.jobs import MEASURE, BoardIdentity, Job
from tvmops.bench.leases import Cancelled, CpuGate
from tvmops.bench.runner import JobRunner
from tvmops.bench.sweep_file import Timeouts, Workload
from tvmops.errors import AgentError, HostUnreachable, RpcError
from tvmops.inventory import Host
from tvmops.rpc import Endpoint
from tvmops.source import Position

RPC = {"schema": 1, "ok": False, "error": {"kind": "Rpc", "message": "cannot run the model on the board"}}
WRONG = {"schema": 1, "ok": False, "error": {"kind": "WrongOutput", "message": "differs"}}
GOOD = {"schema": 1, "ok": True, "samples": [0.001]}
CELL = Cell(Workload("w", {"name": "w"}, Position("x", 1)), Host("b"), "s", {"kind": "llvm"}, None, 1)
JOB = Job(MEASURE, "w", "s", {"measure": {"threads": 1}}, "b", "0" * 64)


class Pool:
    """Workers that leave the results they were given, one after the other."""

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self.results = list(results)
        self.documents: list[dict[str, Any]] = []

    def run(self, stack: str, job_dir: Path, deadline: float, on_event: object) -> None:
        self.documents.append(json.loads((job_dir / "job.json").read_text()))
        (job_dir / "result.json").write_text(json.dumps(self.results.pop(0)))


class Board:
    """A board whose calls can be made to fail a few times."""

    shares_cpu = False

    def __init__(self, key: str = "", **faults: list[Exception]) -> None:
        self.calls: list[str] = []
        self._key = key
        self._faults = faults

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self._faults.get(name):
            raise self._faults[name].pop(0)

    def identify(self) -> BoardIdentity:
        return BoardIdentity()

    def facts(self) -> dict[str, Any]:
        self._called("facts")
        return {"ansible_machine": "x86_64"}

    def conditions(self) -> dict[str, Any]:
        self._called("conditions")
        return {"loadavg": [0, 0, 0]}

    def rpc(self, stack: str) -> Endpoint:
        self._called("rpc")
        return Endpoint("127.0.0.1", 4711, "0.27", self._key)

    def restore_rpc(self, stack: str) -> None:
        self._called("restore_rpc")

    def run_baseline(self, job: dict[str, Any], files: dict[str, Path], deadline: float) -> dict[str, Any]:
        raise AssertionError

    def run_local(
        self, job: dict[str, Any], files: dict[str, Path], deadline: float, into: Path
    ) -> dict[str, Any] | None:
        self._called("run_local")
        if job["workload"]["name"] == "bad":
            return WRONG
        (into / "outcome.json").write_text("the board's")
        return None

    def reset(self) -> None:
        self._called("reset")

    def close(self) -> None:
        self._called("close")


def measure(
    pool: Any, board: Board, cancelled: threading.Event | None = None, cell: Cell = CELL
) -> tuple[Any, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    cancelled = cancelled or threading.Event()
    runner = JobRunner(pool, CpuGate(cancelled), Timeouts(measure=7), events.append, cancelled)
    return runner.measure(JOB, cell, board), events


def test_a_good_measurement_knows_its_conditions_and_endpoint() -> None:
    """Conditions before and after; job.json says where the board is and which TVM it runs."""
    pool, board = Pool([GOOD]), Board()
    finished, _ = measure(pool, board)
    assert finished.ok
    assert board.calls == ["facts", "conditions", "rpc", "conditions"]
    (document,) = pool.documents
    assert document["rpc"] == {"host": "127.0.0.1", "port": 4711, "session_timeout": 7}
    assert document["board"] == {"tvm_version": "0.27"}
    assert (finished.before, finished.after) == ({"loadavg": [0, 0, 0]},) * 2


def test_the_worker_is_told_the_servers_key() -> None:
    """which it has to ask for, where the host has a tvm_rpc_key."""
    pool = Pool([GOOD])
    measure(pool, Board(key="rk3288"))
    assert pool.documents[0]["rpc"] == {"host": "127.0.0.1", "port": 4711, "session_timeout": 7, "key": "rk3288"}


def test_an_rpc_failure_is_tried_once_more_after_the_server_was_restored() -> None:
    """and the second result is the job's."""
    board = Board()
    finished, events = measure(Pool([RPC, GOOD]), board)
    assert finished.ok
    assert board.calls.count("restore_rpc") == 1
    assert [event["event"] for event in events] == ["job_start", "retry"]


def test_two_rpc_failures_are_a_failed_job() -> None:
    """With the worker's own words."""
    finished, _ = measure(Pool([RPC, RPC]), Board())
    assert finished.error == {"kind": "Rpc", "message": "cannot run the model on the board"}


def test_a_server_that_cannot_be_restored_fails_the_job() -> None:
    """No second attempt without a server."""
    pool, board = Pool([RPC, GOOD]), Board(restore_rpc=[RpcError("b: dead for good")])
    finished, _ = measure(pool, board)
    assert not finished.ok
    assert len(pool.documents) == 1


def test_a_lost_connection_is_made_again_once() -> None:
    """From the beginning: conditions of the first attempt are not kept."""
    board = Board(conditions=[HostUnreachable("b: gone")])
    finished, _ = measure(Pool([GOOD]), board)
    assert finished.ok
    assert board.calls.count("reset") == 1
    again = Board(conditions=[HostUnreachable("b: gone"), HostUnreachable("b: still gone")])
    finished, _ = measure(Pool([GOOD]), again)
    assert finished.error["kind"] == "HostUnreachable"


@pytest.mark.parametrize("error", [AgentError("b: the agent ended"), HostUnreachable("b: gone"), RpcError("b: dead")])
def test_what_breaks_because_the_sweep_ends_is_no_failure_of_the_job(error: Exception) -> None:
    cancelled = threading.Event()

    class Cut(Board):
        def conditions(self) -> dict[str, Any]:
            cancelled.set()
            raise error

    with pytest.raises(Cancelled):
        measure(Pool([GOOD]), Cut(), cancelled)


@pytest.mark.parametrize("result", [WRONG, {"schema": 2, "ok": True}, {"schema": 1}])
def test_other_failures_are_not_tried_again(result: dict[str, Any]) -> None:
    """A wrong output stays wrong; a result of another schema is no result."""
    pool = Pool([result, GOOD])
    finished, _ = measure(pool, Board())
    assert not finished.ok
    assert len(pool.documents) == 1


class Judge(Pool):
    """A worker that sees what the board left."""

    def run(self, stack: str, job_dir: Path, deadline: float, on_event: object) -> None:
        document = json.loads((job_dir / "job.json").read_text())
        assert (Path(document["local"]) / "outcome.json").read_text() == "the board's"
        super().run(stack, job_dir, deadline, on_event)


def test_what_the_board_measured_by_itself_is_judged_by_a_worker() -> None:
    """No RPC server is needed; what the board left is gone afterwards."""
    pool, board = Judge([GOOD]), Board()
    finished, _ = measure(pool, board, cell=replace(CELL, mode="local"))
    assert finished.ok
    assert board.calls == ["facts", "conditions", "run_local", "conditions"]
    (document,) = pool.documents
    assert document["mode"] == "local"
    assert "rpc" not in document
    assert not Path(document["local"]).exists()


def test_what_went_wrong_on_the_board_itself_needs_no_worker() -> None:
    """Its words are the job's."""
    cell = replace(CELL, mode="local", workload=Workload("bad", {"name": "bad"}, Position("x", 1)))
    finished, _ = measure(Pool([]), Board(), cell=cell)
    assert finished.error == {"kind": "WrongOutput", "message": "differs"}
    assert job_files.read_result(job_files.job_dir(JOB.key)) == WRONG


def test_a_program_that_was_found_again_keeps_the_conditions_it_began_under() -> None:
    """The board is asked for them once before it, and once after."""
    board = Board(run_local=[HostUnreachable("b: gone")])
    finished, _ = measure(Judge([GOOD]), board, cell=replace(CELL, mode="local"))
    assert finished.ok
    calls = ["facts", "conditions", "run_local", "reset", "facts", "run_local", "conditions"]
    assert board.calls == calls
    assert finished.before == {"loadavg": [0, 0, 0]}
