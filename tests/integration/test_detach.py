"""What becomes of a batch when the link, the connection or its session goes away in the middle of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
from detached_runs import ME, OTHER, SECONDS, batch, begin, collect, gated, no_blobs, spool, task, until
from ssh_servers import Sshd

from tvmops.connection import Connection
from tvmops.connection.session import AgentSession
from tvmops.errors import HostUnreachable


def test_a_run_that_goes_well_leaves_nothing_on_the_board(dial: Callable[[], Connection], tmp_path: Path) -> None:
    with AgentSession(dial(), tag=ME) as session:
        assert (session.info["lease"], session.info["finished"]) == (None, [])
        session.run_batch(batch([task("true"), task("true")]), no_blobs, lambda _event: None)
    runs = tmp_path / "home" / ".local" / "state" / "tvmops" / "runs"
    until(lambda: not (runs / ME.run / "events.jsonl").exists())
    with AgentSession(dial()) as session:
        assert (session.info["lease"], session.info["finished"]) == (None, [])


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_a_lost_link_does_not_stop_a_batch(
    dial: Callable[[], Connection], board: Sshd, tmp_path: Path, how: str
) -> None:
    session = AgentSession(dial(), tag=ME, heartbeat_deadline=2.0)
    names = "abcdef"
    thread, errors = begin(session, gated(tmp_path, names), tmp_path / "a")
    pid = session.info["pid"]
    servers = [one for one in board.processes()[1:] if "sshd" in processes.name(one)]
    for one in servers:
        os.kill(one, signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    thread.join(SECONDS)
    assert [type(error) for error in errors] == [HostUnreachable]
    assert processes.alive(pid)
    (tmp_path / "go").touch()
    until(lambda: all((tmp_path / name).exists() for name in names))
    if how == "killed":
        session.close()
        assert processes.gone(pid, seconds=SECONDS)
    until(lambda: [one["ev"] for one in spool(tmp_path, ME)].count("done") == len(names))
    until(lambda: "batch_end" in [one["ev"] for one in spool(tmp_path, ME)])
    for one in servers if how == "frozen" else ():
        os.kill(one, signal.SIGKILL)
    assert processes.gone(pid, seconds=SECONDS)
    with AgentSession(dial(), tag=OTHER) as later:
        (left,) = later.info["finished"]
        assert (left["run"], left["owner"], left["tasks"], left["changed"]) == (ME.run, ME.owner, 6, 6)
        assert left["complete"]
        assert 0 <= left["ago"] < 3600
        events = collect(later, ME)
        assert [one["task"] for one in events if one["ev"] == "done"] == [1, 2, 3, 4, 5, 6]
        later.forget(ME.run)
        assert later.status()["finished"] == []


def test_a_running_batch_is_followed_to_its_end(dial: Callable[[], Connection], tmp_path: Path) -> None:
    session = AgentSession(dial(), tag=ME)
    begin(session, gated(tmp_path, "abc"), tmp_path / "a")
    session.close()
    with AgentSession(dial(), tag=OTHER) as second:
        until(lambda: second.status()["lease"]["connected"] is False)
        seen: list[dict[str, Any]] = []

        def look(event: dict[str, Any]) -> None:
            seen.append(event)
            if event["ev"] == "done":
                (tmp_path / "go").touch()

        assert second.follow(ME.run, look)
        assert [one["task"] for one in seen if one["ev"] == "done"] == [1, 2, 3]
        assert seen[0]["ev"] == "batch"
        assert seen[0]["tasks"][0][1] == f"touch {tmp_path}/a"
        assert second.status()["lease"] is None


def test_an_idle_controller_is_heard(dial: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.connection.alive.INTERVAL", 0.5)
    with AgentSession(dial(), tag=ME) as session, AgentSession(dial()) as second:
        session.run_batch(batch([task("true")]), no_blobs, lambda _event: None)
        heard = [0.0]

        def again() -> bool:
            heard.append(second.status()["lease"]["heard"])
            return heard[-1] < heard[-2]

        until(again)  # silence would only get longer


def test_stop_ends_a_batch_after_its_task(dial: Callable[[], Connection], tmp_path: Path) -> None:
    with AgentSession(dial(), tag=ME) as session:
        wait = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/a"
        thread, errors = begin(session, [task(wait), task(f"touch {tmp_path}/b")], tmp_path / "begun")
        session.stop_after_task()
        time.sleep(0.2)
        (tmp_path / "go").touch()
        thread.join(SECONDS)
        assert errors == []
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_what_no_log_hides_is_not_on_the_disk(dial: Callable[[], Connection], tmp_path: Path) -> None:
    session = AgentSession(dial(), tag=ME)
    events: list[dict[str, Any]] = []
    secret = task("echo hunter2; echo hunter2 >&2", name="a secret", secret=True)
    loop = [{"args": {"cmd": "echo hunter2"}, "label": "hunter2"}]
    session.run_batch(batch([secret, {**secret, "args": {}, "loop": loop}]), no_blobs, events.append)
    assert [one["result"]["stdout"] for one in events if one["ev"] == "done" and "stdout" in one["result"]] == [
        "hunter2"
    ]
    text = json.dumps(spool(tmp_path, ME))
    assert "hunter2" not in text
    assert "a secret" in text
    for path in (tmp_path / "home").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()
    session.close()
