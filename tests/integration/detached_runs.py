"""Runs that are watched from beside them: batches that wait for a file, and tvmops as its users start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssh_servers import Sshd

from tvmops.connection.session import AgentSession, RunTag

PYTHON = {"ansible_python_interpreter": sys.executable}
ME = RunTag("20260102-030405-aaaaaa", "me@here", "site.yml")
OTHER = RunTag("20260102-030405-bbbbbb", "anna@there", "other.yml")
SECONDS = 60.0  # no wait in these tests is longer


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


def collect(session: AgentSession, tag: RunTag) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    assert session.follow(tag.run, events.append)
    return events


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
