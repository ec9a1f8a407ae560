"""What lab tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tvmops.connection import Become, connect
from tvmops.connection.session import AgentSession
from tvmops.inventory import load_inventory
from tvmops.lab import Board, Lab
from tvmops.paths import lab_dir, project_root

Task = tuple[str, dict[str, Any]]
Result = dict[str, Any]


class Commands:
    """tvmops commands that share one state folder."""

    def __init__(self, lab: Lab, state: Path) -> None:
        self.inventory = f"lab:{lab.id}"
        self.environment = {**os.environ, "TVMOPS_STATE": str(state), "NO_COLOR": "1"}

    def __call__(self, *arguments: str, rc: int = 0) -> str:
        """The output of a command that must end with exit code `rc`."""
        done = subprocess.run(
            [sys.executable, "-m", "tvmops", *arguments],
            env=self.environment,
            cwd=project_root(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout + done.stderr

    def on(self, *arguments: str, rc: int = 0) -> str:
        """As calling it, with the lab as inventory."""
        return self(*arguments, "-i", self.inventory, rc=rc)


def shell(lab: Lab, board: Board | str, script: str, user: str = "root", timeout: float = 60.0) -> str:
    """The output of a script that must succeed on a board."""
    result = lab.exec(board, ["sh", "-ec", script], user=user, timeout=timeout)
    assert result.rc == 0, result
    return result.stdout.strip()


@contextmanager
def machine_on(lab: Lab, name: str) -> Iterator[Machine]:
    """A new board and a root agent on it."""
    lab.up([name])
    host = load_inventory([lab_dir() / lab.id / "inventory.yml"]).hosts[name]
    connection = connect(host)
    with AgentSession(connection, become=Become()) as session:
        yield Machine(session, host.vars)
    connection.close()


class Machine:
    """A board with a root agent on it."""

    def __init__(self, session: AgentSession, variables: dict[str, Any]) -> None:
        self.session = session
        self.mirror = variables["apt_mirror"]
        self.security = variables["apt_security_mirror"]
        self.index = variables["pip_index"]
        self.blobs: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []

    def session_batch(self, tasks: Sequence[Task], check: bool = False) -> list[Result]:
        """Run tasks; the results of those that ran."""
        self.events = []
        numbered = [{"id": number, "module": name, "args": args} for number, (name, args) in enumerate(tasks, 1)]
        batch = {"id": 1, "check": check, "diff": True, "tasks": numbered}
        self.session.run_batch(batch, self.blobs.__getitem__, self.events.append)
        return [event["result"] for event in self.events if event["ev"] == "done"]

    def task(self, name: str, args: dict[str, Any], check: bool = False) -> Result:
        return self.session_batch([(name, args)], check)[0]

    def changed(self, name: str, args: dict[str, Any], check: bool = False) -> bool:
        result = self.task(name, args, check)
        assert not result["failed"], f"{result['msg']} {result}"[:2000]
        return bool(result["changed"])

    def failure(self, name: str, args: dict[str, Any]) -> str:
        result = self.task(name, args)
        assert result["failed"], result
        return str(result["msg"])

    def write(self, path: str, content: str) -> None:
        assert not self.task("copy", {"dest": path, "content": content})["failed"]

    def shell(self, script: str) -> str:
        result = self.task("shell", {"cmd": script})
        assert not result["failed"], f"{result['msg']} {result}"[:2000]
        return str(result["stdout"])

    def background(self, unit: str, python: str) -> None:
        self.write(f"/opt/{unit}.py", python)
        self.shell(f"systemd-run --unit={unit} python3 /opt/{unit}.py")
        self.shell(f"timeout 60 sh -c 'until [ -e /run/ready-{unit} ]; do sleep 0.1; done'")
