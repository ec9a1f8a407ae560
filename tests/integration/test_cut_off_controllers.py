"""A controller that is killed or interrupted: the next one, or `tvmops attach`, tells what it left."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from detached_runs import SECONDS, Controller, until

from tvmops.connection import Connection
from tvmops.connection.session import AgentSession


def test_a_killed_controller_is_followed_by_the_next(controller: Controller, tmp_path: Path) -> None:
    process = controller.start()
    process.kill()
    process.communicate()
    code, shown = controller.run_and_go(controller.playbook(), "following it to its end")
    assert code == 0, shown
    assert "run of site.yml (since" in shown
    assert "was cut off and goes on there; following it to its end" in shown
    assert "(earlier run) last ... changed" in shown
    assert "4 tasks, 4 changed" in shown
    assert "board                      : ok=4    changed=2" in shown
    lost, _ = sorted((tmp_path / "tvmops-state" / "runs").iterdir())
    record = [json.loads(line) for line in (lost / "board" / "events.jsonl").read_text().splitlines()]
    told = [(one["task"], one.get("recovered", False)) for one in record if one["event"] == "task"]
    assert [task for task, _ in told] == ["first", "waits", "third", "last"]
    assert told[-1] == ("last", True)
    assert "hunter2" not in json.dumps(record)
    code, shown = controller.run(controller.playbook())
    assert "cut off" not in shown


def test_what_a_killed_controller_left_is_told_by_the_next(
    controller: Controller, tmp_path: Path, dial: Callable[[], Connection]
) -> None:
    process = controller.start()
    process.kill()
    process.communicate()
    controller.go()
    until((tmp_path / "4").exists)
    with AgentSession(dial()) as session:
        until(lambda: session.status()["lease"] is None)
        assert session.status()["finished"][0]["what"] == "site.yml"
    code, shown = controller.run(controller.playbook())
    assert code == 0, shown
    assert "of site.yml was cut off and finished its batch without us" in shown
    assert "4 tasks, 4 changed" in shown


def test_attach_follows_and_shows(controller: Controller) -> None:
    first = controller.start()
    watch = subprocess.Popen(controller.command("attach", "--host", "board"), stdout=subprocess.PIPE, text=True)
    assert watch.stdout
    assert "run of site.yml (since" in watch.stdout.readline()
    first.kill()
    first.communicate()
    controller.go()
    shown, _ = watch.communicate(timeout=SECONDS)
    assert "board: last ... changed" in shown
    assert "board                      : ok=4    changed=4" in shown
    code, shown = controller.run(controller.command("attach", "--host", "board", "--json"))
    events = [json.loads(line) for line in shown.splitlines()]
    assert "finished its batch without us" in events[1]["text"]
    assert [one["task"] for one in events if one["event"] == "task"] == ["first", "waits", "third", "last"]
    assert "hunter2" not in shown
    code, shown = controller.run(controller.command("attach", "--host", "board"))
    assert code == 0
    assert "nothing runs there" in shown


def test_attach_stops_a_lost_run(controller: Controller, tmp_path: Path) -> None:
    first = controller.start()
    first.kill()
    first.communicate()
    command = controller.command("attach", "--host", "board", "--stop")
    _, shown = controller.run_and_go(command, "its running task is the last")
    assert "board: waits ... changed" in shown
    assert (tmp_path / "2").exists()
    assert not (tmp_path / "4").exists()


def test_ctrl_c_ends_a_run_after_its_task(controller: Controller, tmp_path: Path) -> None:
    first = controller.start()
    first.send_signal(signal.SIGINT)
    time.sleep(0.5)
    controller.go()
    out, _ = first.communicate(timeout=SECONDS)
    assert first.returncode == 130
    assert "board: interrupted after 'waits'" in out
    assert not (tmp_path / "4").exists()
    code, shown = controller.run(controller.playbook())
    assert code == 0, shown
    assert "cut off" not in shown
