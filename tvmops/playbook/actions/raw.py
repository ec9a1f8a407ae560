"""raw: a command line through the login shell; the board needs neither Python nor the agent."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tvmops.playbook.actions.action import Action

if TYPE_CHECKING:
    from tvmops.connection import Become

TIMEOUT = 3600.0  # seconds, unless the task has its own `timeout`


def raw(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Run the line to its end."""
    clean = action.arguments(args)
    if action.conduct.check:
        return {"changed": False, "skipped": True, "msg": "raw does nothing in check mode"}
    line = _environment(action.conduct.environment) + str(clean["_raw_params"])
    if clean["executable"]:
        line = f"{clean['executable']} -c {shlex.quote(line)}"
    with action.sessions.exclusive():
        rc, stdout, stderr = _run(action, line)
    outcome: dict[str, Any] = {
        "changed": True, "rc": rc, "stdout": stdout, "stdout_lines": stdout.splitlines(), "stderr": stderr,
        "stderr_lines": stderr.splitlines(),
    }  # fmt: skip
    if rc != 0:
        outcome.update(failed=True, msg="non-zero return code")
    return outcome


def _environment(values: dict[str, str]) -> str:
    return "".join(f"{name}={shlex.quote(value)}; export {name}; " for name, value in values.items())


def _run(action: Action, line: str) -> tuple[int, str, str]:
    timeout = action.conduct.timeout or TIMEOUT
    connection = action.sessions.connection()
    become = _become(action)
    if become is None:
        done = connection.run(line, timeout=timeout)
        return done.rc, done.stdout, done.stderr
    from tvmops.connection import become as becoming

    process = becoming.start(connection, become, line)
    try:
        process.close_stdin()
        lines = []
        while (one := process.read_line(timeout)) is not None:
            lines.append(one.decode("utf-8", "replace") + "\n")
        return process.wait(timeout), "".join(lines), process.stderr_text()
    finally:
        process.kill()


def _become(action: Action) -> Become | None:
    conduct = action.conduct
    if conduct.become_user is None:
        return None
    return action.sessions.become(conduct.become_user, conduct.become_method)
