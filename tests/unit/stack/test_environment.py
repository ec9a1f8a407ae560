"""Environments: their names, their lock, and what a failing pip leaves to read."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from tvmops.errors import ConfigError, StackError
from tvmops.stack import environment_path, load_stack
from tvmops.stack.environment import beside, locked, run_logged


def test_every_set_of_extras_has_its_own_environment() -> None:
    stack = load_stack("relax-0.27")
    plain, torch = environment_path(stack), environment_path(stack, ("torch",))
    assert plain != torch
    assert torch == environment_path(stack, ("torch", "torch"))
    assert plain.name.startswith(f"relax-0.27-py3.{sys.version_info[1]}-")
    with pytest.raises(ConfigError, match="has no extra 'tensorflow'"):
        environment_path(stack, ("tensorflow",))


def test_locks_of_two_environments_are_two_files() -> None:
    stack = load_stack("relax-0.27")
    names = {beside(environment_path(stack, extras), ".lock").name for extras in ((), ("torch",))}
    assert len(names) == 2


def test_the_second_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    path, order, told = tmp_path / "x.lock", [], []
    inside = threading.Event()

    def first() -> None:
        with locked(path):
            inside.set()
            time.sleep(0.5)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(5)
    with locked(path, told.append):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert told == ["waiting for another tvmops that makes the same thing"]


def test_a_lock_held_too_long_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    refused = pytest.raises(StackError, match="another process has held this lock for 0 s")
    with locked(path), refused, locked(path, deadline=0.3):
        pass


def test_a_failing_program_shows_the_end_of_its_output(tmp_path: Path) -> None:
    log, seen = tmp_path / "pip.log", []
    script = "import sys; [print('line', n) for n in range(50)]; sys.exit(3)"
    with pytest.raises(StackError) as raised:
        run_logged([sys.executable, "-c", script], log, seen.append)
    assert "failed with exit code 3:" in str(raised.value)
    assert "line 49" in str(raised.value)
    assert "line 20" not in str(raised.value)
    assert str(log) in str(raised.value)
    assert seen == log.read_text().splitlines() == [f"line {number}" for number in range(50)]


def test_a_program_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(StackError, match="deadline 1 s"):
        run_logged([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", print, deadline=1.0)
    assert time.monotonic() - started < 10
