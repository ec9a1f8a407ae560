"""Starting a shell script as another user through sudo: the password prompt, and every way sudo can say no."""

from __future__ import annotations

import contextlib
import secrets
import shlex

from tvmops.connection.base import Become, Connection, Deadline, Process, unreachable
from tvmops.errors import AgentError, BecomeError, TvmopsError

BEGIN = b"tvmops:begin"
START_TIMEOUT = 60.0  # seconds; sudo may wait for name servers and log daemons
_NO_SUDO = b"tvmops:no-sudo"
GIVE_PASSWORD = "give the password: --ask-become-pass, ansible_become_password or $TVMOPS_BECOME_PASSWORD"  # noqa: S105


def start(connection: Connection, become: Become | None, script: str, timeout: float = START_TIMEOUT) -> Process:
    """Run `script` as the become user (None: the login user); returns once its first line is about to run.

    What login shells print before that is dropped. No sudo is involved when the login user is the become user.
    The password goes to sudo's stdin and only after sudo asked for it, so it can never reach the script.
    Raises BecomeError, HostUnreachable, AgentError when the login user's shell is no shell.
    """
    script = f"echo {BEGIN.decode()}; {script}"
    if become is None:
        process = connection.open(script)
        prompt = ""
    else:
        prompt = f"[tvmops-{secrets.token_hex(8)}]"
        process = connection.open(_sudo_script(become, script, prompt))
    try:
        _await_begin(connection, become, process, prompt, timeout)
    except BaseException:
        process.kill()
        raise
    return process


def _sudo_script(become: Become, script: str, prompt: str) -> str:
    exe = shlex.quote(become.exe or "sudo")
    flags = shlex.split(become.flags) if become.flags is not None else ["-H"]
    flags += ["-n"] if become.password is None else ["-S", "-p", prompt]
    command = shlex.join([*flags, "-u", become.user, "--"])
    # LC_ALL=C is for sudo's messages only.
    return (
        f"s={shlex.quote(script)}; "
        f'if [ "$(id -un)" = {shlex.quote(become.user)} ]; then eval "$s"; exit; fi; '
        f"command -v {exe} > /dev/null 2>&1 || {{ echo {_NO_SUDO.decode()}; exit 0; }}; "
        f"LC_ALL=C; LANGUAGE=C; export LC_ALL LANGUAGE; "
        f'exec {exe} {command} /bin/sh -c "unset LC_ALL LANGUAGE; $s"'
    )


def _await_begin(connection: Connection, become: Become | None, process: Process, prompt: str, timeout: float) -> None:
    deadline = Deadline(timeout)
    name = connection.host.name
    answered = False
    while True:
        while (line := process.take_line()) is not None:
            if line == BEGIN:
                return
            if line == _NO_SUDO:
                exe = become.exe if become and become.exe else "sudo"
                raise BecomeError(
                    f"{name}: {exe} is not installed on it, and the login user is not {become.user if become else ''}",
                    "log in as root (ansible_user), or install sudo there",
                )
        asked = process.stderr_text().count(prompt) if prompt else 0
        if asked > 1:
            raise BecomeError(f"{name}: sudo did not accept the password", GIVE_PASSWORD)
        if asked and not answered and become is not None and become.password is not None:
            with contextlib.suppress(BrokenPipeError):  # it gave up; why is on stderr
                process.write(become.password.encode() + b"\n")
            answered = True
        if process.ended():
            raise _refusal(name, become, process.stderr_text().replace(prompt, "") if prompt else "", process)
        if deadline.passed():
            raise unreachable(connection.host, f"went silent: no shell started within {timeout:.0f} s")
        process.wait_output(deadline.left())


def _refusal(name: str, become: Become | None, complaint: str, process: Process) -> TvmopsError:
    if become is None:
        text = process.stderr_text().strip() or "it ended without a word"
        return AgentError(f"{name}: the login user's shell did not run /bin/sh: {text}", "log in by hand to see")
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = lines[-1] if lines else "sudo ended without a word"
    text = complaint.lower()
    if "password is required" in text and become.password is None:
        return BecomeError(f"{name}: sudo wants a password to become {become.user}, and none was given", GIVE_PASSWORD)
    if "incorrect password" in text or "sorry, try again" in text:
        return BecomeError(f"{name}: sudo did not accept the password", GIVE_PASSWORD)
    if "unknown user" in text:
        return BecomeError(f"{name}: there is no user '{become.user}' on it", "check ansible_become_user")
    if "sudoers" in text or "may not run" in text or "not allowed" in text:
        return BecomeError(
            f"{name}: the login user may not become {become.user}: {last}",
            "add the user to the group sudo there, or log in as root (ansible_user)",
        )
    return BecomeError(f"{name}: sudo to {become.user} failed: {last}", "try it by hand there: sudo -v")
