"""Two runs that want one board: one is refused, waits or only looks; one board with two names is no second run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from detached_runs import ME, OTHER, PYTHON, SECONDS, Controller, batch, begin, gated, no_blobs, task, until
from ssh_servers import Sshd

from tvmops.agent.lease import Lease
from tvmops.connection import Connection, connect
from tvmops.connection.session import AgentSession
from tvmops.errors import HostBusy
from tvmops.fleet.lost import Manners
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host


def test_a_second_run_is_refused_and_says_whose_it_is(dial: Callable[[], Connection], tmp_path: Path) -> None:
    with AgentSession(dial(), tag=ME) as session:
        thread, _ = begin(session, gated(tmp_path, "ab"), tmp_path / "a")
        with AgentSession(dial(), tag=OTHER) as second:
            lease = second.info["lease"]
            assert (lease["run"], lease["owner"], lease["what"]) == (ME.run, ME.owner, ME.what)
            assert (lease["running"], lease["connected"], lease["lasts"]) == (True, True, None)
            assert "touch" in lease["task"]
            with pytest.raises(HostBusy, match=r"board: busy with me@here's run of site\.yml \(since .*, at 'while"):
                second.run_batch(batch([task(f"touch {tmp_path}/never")]), no_blobs, lambda _event: None)
            assert second.steal() is not None
            (tmp_path / "go").touch()
            thread.join(SECONDS)
            assert second.status()["lease"]["running"] is False
        session.run_batch(batch([task("true")]), no_blobs, lambda _event: None)
    assert not (tmp_path / "never").exists()
    with AgentSession(dial(), tag=OTHER) as second:
        until(lambda: second.status()["lease"] is None)
        second.run_batch(batch([task(f"touch {tmp_path}/now")]), no_blobs, lambda _event: None)
    assert (tmp_path / "now").exists()


def test_whoever_only_looks_is_not_refused(dial: Callable[[], Connection], tmp_path: Path) -> None:
    with AgentSession(dial(), tag=ME) as session:
        thread, _ = begin(session, gated(tmp_path, "ab"), tmp_path / "a")
        events: list[dict[str, Any]] = []
        with AgentSession(dial()) as second:
            second.run_batch(batch([task("echo in")]), no_blobs, events.append)
        assert events[-2]["result"]["stdout"] == "in"
        (tmp_path / "go").touch()
        thread.join(SECONDS)


def test_a_board_with_two_names_serves_both_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    connections = [connect(Host(name, {"ansible_connection": "local", **PYTHON})) for name in ("one", "two")]
    sessions = [AgentSession(one, tag=ME) for one in connections]
    thread, errors = begin(sessions[0], gated(tmp_path, "ab"), tmp_path / "a")
    sessions[1].run_batch(batch([task(f"touch {tmp_path}/go")]), no_blobs, lambda _event: None)
    thread.join(SECONDS)
    assert errors == []
    for one in (*sessions, *connections):
        one.close()


def test_two_controllers_at_once(controller: Controller) -> None:
    first = controller.start()
    code, shown = controller.run(controller.playbook())
    assert code == 16
    assert "board: FAILED: board: busy with" in shown
    assert "at 'waits'" in shown
    assert "--wait" in shown
    code, shown = controller.run(controller.playbook("--steal"))
    assert code == 16
    assert "lasts while its batch runs" in shown
    code, shown = controller.run(controller.playbook("--wait", "2"))
    assert code == 16
    assert "waiting for" in shown
    assert "waited 2 seconds" in shown
    code, shown = controller.run_and_go(controller.playbook("--wait"), "waiting for")
    assert code == 0, shown
    out, _ = first.communicate(timeout=SECONDS)
    assert first.returncode == 0, out


def test_a_run_that_is_overtaken_before_its_first_batch_waits(board: Sshd, tmp_path: Path) -> None:
    said: list[str] = []
    mine, theirs = (HostSessions(board.host(**PYTHON), notify=said.append, tag=tag) for tag in (ME, OTHER))
    mine.manners = Manners(wait=SECONDS)
    try:
        session = mine.session(root=False)  # it has seen that the board is free
        faster, faults = begin(theirs.session(root=False), gated(tmp_path, "ab"), tmp_path / "a")
        work = (batch([task(f"test -e {tmp_path}/b && touch {tmp_path}/mine")]), no_blobs, lambda _event: None)
        waiting = threading.Thread(target=session.run_batch, args=work, daemon=True)
        waiting.start()
        until(lambda: any("waiting for anna@there's run of other.yml" in line for line in said))
        (tmp_path / "go").touch()
        faster.join(SECONDS)
        theirs.close()
        waiting.join(SECONDS)
        assert (faults, waiting.is_alive(), (tmp_path / "mine").exists()) == ([], False, True)
    finally:
        (tmp_path / "go").touch()
        mine.close()
        theirs.close()


def test_a_run_that_is_overtaken_and_may_not_wait_is_refused(board: Sshd, tmp_path: Path) -> None:
    mine, theirs = (HostSessions(board.host(**PYTHON), tag=tag) for tag in (ME, OTHER))
    mine.manners = Manners(wait=0.0)
    try:
        session = mine.session(root=False)
        begin(theirs.session(root=False), gated(tmp_path, "ab"), tmp_path / "a")
        with pytest.raises(HostBusy, match=r"busy with anna@there's run of other.yml"):
            session.run_batch(batch([task("true")]), no_blobs, lambda _event: None)
    finally:
        (tmp_path / "go").touch()
        mine.close()
        theirs.close()


def test_what_is_delegated_to_this_machine_needs_no_lease_of_it(controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - shell: echo $$ > {{ folder }}/here\n      delegate_to: localhost\n"
    )
    lease = Lease(str(tmp_path / "agent-state"))
    assert lease.take({"run": OTHER.run, "owner": OTHER.owner, "what": OTHER.what, "host": "localhost"}) is None
    code, shown = controller.run(controller.playbook())
    assert code == 0, shown
    assert (tmp_path / "here").exists()
    lease.release()
