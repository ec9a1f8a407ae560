"""Who may use a board and the processor: alone, in turn, and free again when the holder dies."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tvmops.bench.leases import Cancelled, CpuGate, board_lease
from tvmops.errors import JobFailed

HOLD = """
import sys, threading, time
from tvmops.bench.leases import board_lease
with board_lease(sys.argv[1], "another sweep", deadline=1, cancelled=threading.Event()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def cancelled() -> threading.Event:
    return threading.Event()


def test_the_second_is_told_who_holds_a_board_and_gives_up_in_time(cancelled: threading.Event) -> None:
    """With purpose, user and process; another board is free."""
    told: list[str] = []
    with board_lease("one", "measuring x", deadline=1, cancelled=cancelled):
        with board_lease("two", "measuring y", deadline=1, cancelled=cancelled):
            pass
        started = time.monotonic()
        with (
            pytest.raises(
                JobFailed, match=r"one: still held by measuring x of .* \(pid \d+ on .*, since .*\) after 0 s"
            ),
            board_lease("one", "too late", deadline=0.3, cancelled=cancelled, on_wait=told.append),
        ):
            pytest.fail("two hold one board")
        assert time.monotonic() - started < 15
    assert len(told) == 1
    assert told[0].startswith("one is held by measuring x of ")
    with board_lease("one", "now", deadline=0.1, cancelled=cancelled):
        pass


def test_a_lease_ends_with_its_process(cancelled: threading.Event) -> None:
    """kill -9 included: nobody has to clean up."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, "one"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    told: list[str] = []
    threading.Timer(0.3, process.kill).start()
    with board_lease("one", "next", deadline=10, cancelled=cancelled, on_wait=told.append):
        assert f"(pid {process.pid} on " in told[0]
    process.communicate()


def test_waiting_ends_with_the_sweep(cancelled: threading.Event) -> None:
    """Ctrl-C does not wait for another sweep."""
    threading.Timer(0.2, cancelled.set).start()
    with (
        board_lease("one", "first", deadline=1, cancelled=threading.Event()),
        pytest.raises(Cancelled),
        board_lease("one", "second", deadline=60, cancelled=cancelled),
    ):
        pytest.fail("two hold one board")


def test_compiles_run_together_and_measurements_alone(cancelled: threading.Event) -> None:
    """Through many threads: at no moment a measurement beside anything else."""
    gate = CpuGate(cancelled)
    lock = threading.Lock()
    running = {"compile": 0, "measure": 0}
    most = {"compile": 0, "measure": 0}
    wrong: list[dict[str, int]] = []

    def work(kind: str) -> None:
        for _ in range(5):
            with gate.measuring() if kind == "measure" else gate.compiling():
                with lock:
                    running[kind] += 1
                    most[kind] = max(most[kind], running[kind])
                    if running["measure"] > 1 or (running["measure"] and running["compile"]):
                        wrong.append(dict(running))
                time.sleep(0.01)
                with lock:
                    running[kind] -= 1

    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("compile", "compile", "measure", "measure")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert most == {"compile": 2, "measure": 1}


def test_a_waiting_measurement_goes_before_later_compiles(cancelled: threading.Event) -> None:
    """A long queue of compiles does not starve it."""
    gate = CpuGate(cancelled)
    order: list[str] = []
    entered = threading.Event()

    def compile_first() -> None:
        with gate.compiling():
            entered.set()
            time.sleep(0.3)
            order.append("first compile")

    def measure() -> None:
        with gate.measuring():
            order.append("measure")

    def compile_later() -> None:
        with gate.compiling():
            order.append("later compile")

    threads = [threading.Thread(target=work) for work in (compile_first, measure, compile_later)]
    for thread in threads:
        thread.start()
        entered.wait(5)
        time.sleep(0.05)
    for thread in threads:
        thread.join(10)
    assert order == ["first compile", "measure", "later compile"]


def test_two_sweeps_share_the_processor_by_the_same_rule(cancelled: threading.Event, tmp_path: Path) -> None:
    """Two gates are two sweeps: the second is told and waits."""
    told: list[str] = []
    first, second = CpuGate(cancelled), CpuGate(cancelled, told.append)
    with first.compiling(), second.compiling():
        pass
    assert told == []
    done = threading.Event()

    def compile_in_second() -> None:
        with second.compiling():
            done.set()

    with first.measuring():
        thread = threading.Thread(target=compile_in_second)
        thread.start()
        assert not done.wait(0.4)
    assert done.wait(5)
    thread.join(5)
    assert told == ["another sweep uses this machine's processor"]
