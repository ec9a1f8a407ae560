"""What becomes of a batch when the link, the connection or the controller goes away in the middle of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from ssh_servers import Sshd

from tvmops.agent.lease import Lease
from tvmops.connection import Connection, connect
from tvmops.connection.session import AgentSession, RunTag
from tvmops.errors import HostBusy, HostUnreachable
from tvmops.inventory.model import Host

PYTHON = {"ansible_python_interpreter": sys.executable}
ME = RunTag("20260102-030405-aaaaaa", "me@here", "site.yml")
OTHER = RunTag("20260102-030405-bbbbbb", "anna@there", "other.yml")
SECONDS = 60.0  # no wait in these tests is longer


@pytest.fixture
def board(make_sshd: Callable[..., Sshd], tmp_path: Path) -> Sshd:
    """An ssh server whose user has an empty home."""
    (tmp_path / "home").mkdir()
    return make_sshd(SetEnv=f"HOME={tmp_path / 'home'}")


@pytest.fixture
def dial(board: Sshd) -> Iterator[Callable[[], Connection]]:
    """dial() -> a new connection to the board; all are closed after the test."""
    opened: list[Connection] = []

    def make() -> Connection:
        opened.append(connect(board.host(**PYTHON)))
        return opened[-1]

    yield make
    board.signal(signal.SIGCONT)
    for one in opened:
        one.close()


def task(command: str, **more: Any) -> dict[str, Any]:
    return {"module": "shell", "args": {"cmd": command}, "name": command, **more}


def gated(folder: Path, names: str) -> list[dict[str, Any]]:
    """Tasks that each leave a file with their name; all but the first wait for a file `go` before."""
    wait = f"while [ ! -e {folder}/go ]; do sleep 0.05; done; "
    return [task(f"{wait if number else ''}touch {folder}/{name}") for number, name in enumerate(names)]


def batch(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": 1, "tasks": [{"id": number, **one} for number, one in enumerate(tasks, 1)]}


def no_blobs(digest: str) -> bytes:
    raise KeyError(digest)


def begin(session: AgentSession, tasks: list[dict[str, Any]], first: Path) -> tuple[threading.Thread, list[Exception]]:
    """Run a batch in a thread; returns once its first task has left its file."""
    errors: list[Exception] = []

    def work() -> None:
        try:
            session.run_batch(batch(tasks), no_blobs, lambda _event: None)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    until(first.exists)
    return thread, errors


def until(condition: Callable[[], Any]) -> None:
    """Wait for it to come true."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def spool(tmp_path: Path, tag: RunTag) -> list[dict[str, Any]]:
    """The events of a run on the board."""
    path = tmp_path / "home" / ".local" / "state" / "tvmops" / "runs" / tag.run / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def finished(tmp_path: Path, tag: RunTag) -> bool:
    """Whether the run's agent has ended."""
    path = tmp_path / "home" / ".local" / "state" / "tvmops" / "runs" / tag.run / "events.jsonl"
    return path.exists() and '"ev": "left"' in path.read_text()


def collect(session: AgentSession, tag: RunTag) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    assert session.follow(tag.run, events.append)
    return events


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


def test_an_idle_controller_is_heard(
    dial: Callable[[], Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: first
      copy: {content: "1", dest: "{{ folder }}/1"}
    - name: waits
      shell: "touch {{ folder }}/begun; while [ ! -e {{ folder }}/go ]; do sleep 0.05; done; echo 2 > {{ folder }}/2"
    - name: third
      copy: {content: "{{ word }}", dest: "{{ folder }}/3"}
      no_log: true
      register: hidden
    - name: last
      shell: "echo 4 > {{ folder }}/4"
"""


class Controller:
    """tvmops as its users start it, against the board."""

    def __init__(self, board: Sshd, folder: Path) -> None:
        self.folder = folder
        (folder / "site.yml").write_text(PLAYBOOK)
        variables = {**board.vars(**PYTHON), "folder": str(folder), "word": "hunter2"}
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"board": variables}}}))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tvmops", *words, "-i", str(self.folder / "hosts.yml")]

    def playbook(self, *words: str) -> list[str]:
        return self.command("playbook", str(self.folder / "site.yml"), *words)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A run in the background that has come to the task that waits."""
        process = subprocess.Popen(self.playbook(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        until((self.folder / "begun").exists)
        return process

    def run(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return done.returncode, done.stdout + done.stderr

    def run_and_go(self, command: list[str], said: str) -> tuple[int, str]:
        """Run a command; the task that waits is let go once the command has said this."""
        lines: list[str] = []
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout
            for line in process.stdout:
                lines.append(line)
                if said in line:
                    self.go()
        return process.returncode, "".join(lines)

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def controller(board: Sshd, tmp_path: Path) -> Controller:
    return Controller(board, tmp_path)


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


def test_attach_follows_and_shows(controller: Controller, tmp_path: Path) -> None:
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
