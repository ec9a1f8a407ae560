"""Who holds a board: taking, joining, silence, frozen agents, clocks that nobody sets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

from tvmops.agent import lease as leases
from tvmops.agent import lost
from tvmops.agent.lease import Lease
from tvmops.agent.services import Services
from tvmops.agent.spool import Spool
from tvmops.paths import project_root

MINE = {"run": "r1", "owner": "me@here", "what": "site.yml", "host": "b1"}
OTHERS = {**MINE, "run": "r2", "owner": "anna@there"}


class Clock:
    """The board's boot clock, turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "clock", made)
    return made


def test_a_lease_is_for_one_run_and_ends_with_its_agents(tmp_path: Path, clock: Clock) -> None:
    first, joined, other = Lease(str(tmp_path)), Lease(str(tmp_path)), Lease(str(tmp_path))
    assert other.look() is None
    assert first.take(MINE) is None
    assert joined.take(MINE) is None
    holder = other.take(OTHERS)
    assert holder is not None
    assert (holder["run"], holder["owner"], holder["what"], holder["pid"]) == ("r1", "me@here", "site.yml", os.getpid())
    first.release()
    assert other.take(OTHERS) is not None
    joined.release()
    assert other.look() is None
    assert other.take(OTHERS) is None


def test_ages_come_from_a_clock_that_nobody_sets(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = Lease(str(tmp_path)), Lease(str(tmp_path))
    first.take(MINE)
    first.note(running=True)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    clock.now += 90
    first.keep(heard=clock.now - 3, connected=True)
    holder = other.look()
    assert (holder["age"], holder["heard"], holder["lasts"]) == (90, 3, None)


def test_a_silent_controller_loses_the_lease_once_nothing_runs(tmp_path: Path, clock: Clock) -> None:
    first, other = Lease(str(tmp_path)), Lease(str(tmp_path))
    first.take(MINE)
    heard = clock.now
    first.note(running=True, heard=heard)
    clock.now += 300
    first.keep(heard, connected=False)
    assert first.held
    assert other.look()["lasts"] is None
    first.note(running=False)
    clock.now += 1
    first.keep(heard, connected=False)
    assert not first.held
    assert other.take(OTHERS) is None
    assert first.take(MINE)["run"] == "r2"


def test_an_idle_lease_tells_how_long_it_lasts(tmp_path: Path, clock: Clock) -> None:
    first, other = Lease(str(tmp_path)), Lease(str(tmp_path))
    first.take(MINE)
    clock.now += 20
    assert other.look()["lasts"] == 40
    assert other.steal()["lasts"] == 40
    assert first.held


def test_an_agent_that_no_longer_beats_counts_as_frozen(tmp_path: Path, clock: Clock) -> None:
    first, other = Lease(str(tmp_path)), Lease(str(tmp_path))
    first.take(MINE)
    first.note(running=True)
    clock.now += 61
    assert other.look()["lasts"] == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff" * 50, b'{"run": 5}'])
def test_a_damaged_file_is_no_obstacle(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / "lease").write_bytes(content)
    first, other = Lease(str(tmp_path)), Lease(str(tmp_path))
    assert first.take(MINE) is None
    os.truncate(tmp_path / "lease", 0)
    assert other.take(OTHERS)["run"] is None
    assert other.look()["lasts"] == 60


TAKER = """
import sys, time
sys.path.insert(0, sys.argv[3])
from tvmops.agent.lease import Lease
run = {"run": "r1", "owner": "me", "what": "site.yml", "host": "b1"}
for number in range(300):
    while time.time() < float(sys.argv[2]) + number * 0.005:
        pass
    lease = Lease("%s/%d" % (sys.argv[1], number))
    holder = lease.take(run)
    if holder is not None:
        sys.exit("refused: %r" % holder)
    lease.note(running=True, connected=True)
    lease.release()
"""


def test_agents_of_one_run_at_the_same_moment_never_refuse_each_other(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", TAKER, str(tmp_path), str(time.time() + 1), str(project_root())]
    takers = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [taker.communicate(timeout=120)[1] for taker in takers] == [""] * 4


def test_a_place_that_cannot_be_written_to_is_an_error_for_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Lease(str(tmp_path / "file" / "state")).take(MINE)


def run_of(driver: Driver, tag: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
    driver.start(tasks, **tag)


def shell(command: str) -> dict[str, Any]:
    return {"module": "shell", "args": {"cmd": command}, "name": command}


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def state_of(cache: Path) -> Path:
    return cache.parent / "state"


def test_a_frozen_agent_keeps_the_board_until_its_lease_is_stolen(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Driver(cache) as first, Driver(cache) as second:
        run_of(first, MINE, [shell("true")])
        first.finish()

        def idle() -> bool:
            second.send({"op": "status"})
            return second.wait_for("status")["lease"]["running"] is False

        until(idle)
        os.kill(first.process.pid, signal.SIGSTOP)
        second.send({"op": "steal"})
        assert second.wait_for("refused")["lease"]["lasts"] > 0
        run_of(second, OTHERS, [shell("true")])
        assert second.wait_for("refused")["lease"]["owner"] == "me@here"
        # As if its last sign of life were old.
        path = state_of(cache) / "lease"
        note = json.loads(path.read_text())
        path.write_text(json.dumps({**note, "heard": note["heard"] - 100, "beat": note["beat"] - 100}).ljust(2048))
        second.send({"op": "steal"})
        assert second.wait_for("status")["lease"] is None
        assert first.process.wait(20) == -signal.SIGKILL
        assert second.batch([shell("echo mine")], **OTHERS)[0]["stdout"] == "mine"


def test_interrupt_ends_a_batch_of_another_agent_after_its_task(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Driver(cache) as first, Driver(cache) as second:
        gate = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
        run_of(first, MINE, [shell(gate), shell(f"touch {tmp_path}/never")])
        until((tmp_path / "begun").exists)
        for run in ("another", "r1"):
            second.send({"op": "interrupt", "run": run})
            assert second.wait_for("interrupted")["run"] == run
        (tmp_path / "go").touch()
        assert len(first.finish()) == 1
        assert first.process.wait(20) == 1
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("run", ["../etc", "", ".", "a/b", "x" * 101, "é", 7, None])
def test_the_name_of_a_run_is_never_a_path(tmp_path: Path, run: object) -> None:
    with Driver(tmp_path / "cache") as agent:
        agent.send({"op": "follow", "run": run})
        assert "cannot be the name of a run" in agent.wait_for("fatal")["msg"]
        assert agent.process.wait(20) == 2


class NoWire:
    """A wire that nobody listens to."""

    spool: Any = None
    gone = False
    sent: list[bytes]

    def __init__(self) -> None:
        self.sent = []

    def forward(self, line: bytes, run: str) -> None:
        self.sent.append(line)

    def take_spool(self) -> Any:
        return self.spool


def test_a_run_that_gave_its_lease_up_takes_it_again_unless_the_board_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_found", [str(tmp_path / "state")])
    services = Services(str(tmp_path / "cache"), NoWire())
    assert services.begin_run(MINE) is None
    services.lease.release()
    assert services.begin_run(MINE) is None
    assert services.lease.held
    services.lease.release()
    other = Lease(str(tmp_path / "state"))
    other.take(OTHERS)
    assert services.begin_run(MINE)["owner"] == "anna@there"
    services.close()


def test_following_ends_when_the_run_no_longer_holds_the_board(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))  # its agent lives, so that the file stays locked
    spool.begin({"run": "r1", "tasks": []}, frozenset())
    wire = NoWire()
    answers = iter([True, True, False])
    assert lost.follow(str(tmp_path), "r1", wire, lambda: next(answers)) == "finished"
    assert len(wire.sent) == 1
    assert lost.follow(str(tmp_path / "none"), "r1", wire, lambda: True) == "unknown"
    spool.close(delivered=True)
