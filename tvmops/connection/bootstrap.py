"""Boards without Python, or with a Python that lacks parts of its library: install it with apt, by plain shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from tvmops.connection import become as becoming
from tvmops.connection.base import Become, Connection, Deadline, unreachable
from tvmops.connection.options import become_settings
from tvmops.errors import AgentError, BecomeError

DEADLINE = 900.0  # seconds for all of it: slow boards unpack slowly
SILENCE = 180.0  # seconds without a line of output
SHOWN_LINES = 12
HTTP_TIMEOUT = 10  # seconds; apt takes it twice
DEAD_SERVER = 2  # so many addresses that did not answer are enough
_NO_ANSWER = re.compile(r"timed out|Connection failed")

_OPTIONS = (
    f"-o Acquire::http::Timeout={HTTP_TIMEOUT} -o Acquire::https::Timeout={HTTP_TIMEOUT} -o Acquire::Retries=0 "
    "-o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0"
)
_SCRIPT = (
    "command -v apt-get > /dev/null 2>&1 || { echo tvmops:no-apt; exit 0; }; "
    "DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; "
    "%s"
    # While nothing but downloads can be cut short, all of it ends when the controller's end of the pipe is closed: the
    # login user may not end root's processes, and one that waits for a server would keep apt's locks.
    """trap 'rm -rf "$list"; exit 1' TERM; """
    "exec 3<&0; (cat; kill -TERM 0) <&3 > /dev/null 2>&1 & watch=$!; "
    # A failed update is not the end: the lists that are there may do.
    f"apt-get {_OPTIONS} $sources update < /dev/null 2>&1; "
    f"apt-get {_OPTIONS} $sources install -y --no-install-recommends --download-only python3 < /dev/null 2>&1; "
    "status=$?; kill $watch; "
    "if [ $status = 0 ]; then "
    f"apt-get {_OPTIONS} $sources install -y --no-install-recommends --no-download python3 < /dev/null 2>&1; "
    "status=$?; fi; "
    'rm -rf "$list"; echo tvmops:status $status'
)
# The inventory's mirror serves before the playbook has switched to it; the board's own sources stay untouched.
_MIRROR = (
    "list=$(mktemp -d) || exit 1; . /etc/os-release; "
    'for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-updates"; do echo "deb "%s" $suite main"; done '
    '> "$list/sources.list"; echo "deb "%s" $VERSION_CODENAME-security main" >> "$list/sources.list"; '
    'sources="-o Dir::Etc::sourcelist=$list/sources.list -o Dir::Etc::sourceparts=-"; '
)


def install_python(
    connection: Connection, become: Become | None, why: str, notify: Callable[[str], None] = lambda _: None
) -> None:
    """Install python3 as root. `notify` gets apt's lines as they come.

    Raises AgentError (no apt, or apt failed, with its output), BecomeError when nobody may become root,
    HostUnreachable when the board goes silent.
    """
    name = connection.host.name
    root = become if become is not None and become.user == "root" else become_settings(connection.host, become=True)
    if root is not None and root.user != "root":
        root = Become(password=root.password, exe=root.exe, flags=root.flags)
    try:
        process = becoming.start(connection, root or Become(), _script(connection.host.vars))
    except BecomeError as error:
        raise BecomeError(f"{name}: {why}, and only root can install python3: {error.message}", error.hint) from error
    deadline = Deadline(DEADLINE)
    lines: list[str] = []
    try:
        while (raw := process.read_line(min(SILENCE, deadline.left()))) is not None:
            line = raw.decode("utf-8", "replace").strip()
            if line == "tvmops:no-apt":
                raise AgentError(
                    f"{name}: {why}, and there is no apt-get to install it with",
                    "install Python 3.5 or later there by hand (not on PATH? ansible_python_interpreter)",
                )
            if line.startswith("tvmops:status "):
                if line != "tvmops:status 0":
                    raise _failed(name, why, lines)
                return
            lines.append(line)
            notify(line)
            if sum(bool(_NO_ANSWER.search(one)) for one in lines) >= DEAD_SERVER:
                raise _failed(name, f"{why}, a package server accepts connections and does not answer", lines)
            if deadline.passed():
                raise unreachable(connection.host, f"installing python3 took more than {DEADLINE / 60:.0f} minutes")
        raise _failed(name, why, lines)
    finally:
        process.kill()


def _script(variables: Mapping[str, Any]) -> str:
    mirror = variables.get("apt_mirror")
    if not mirror:
        return _SCRIPT % "list=; sources=; "
    # Debian keeps security fixes apart, Ubuntu beside the rest.
    security = variables.get("apt_security_mirror", mirror)
    return _SCRIPT % (_MIRROR % (shlex.quote(str(mirror)), shlex.quote(str(security))))


def _failed(name: str, why: str, lines: list[str]) -> AgentError:
    shown = "".join(f"\n    {line}" for line in lines[-SHOWN_LINES:])
    return AgentError(
        f"{name}: {why}, and apt-get could not install python3:{shown}",
        "see to the board's package sources (/etc/apt), or give the host an apt_mirror that it can reach",
    )
