"""Starting a shell script as another user through sudo or su: the password prompt, and every way they can say no."""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Callable

from tvmops.connection.base import Become, Connection, Deadline, Process, unreachable
from tvmops.errors import AgentError, BecomeError, TvmopsError

BEGIN = b"tvmops:begin"
START_TIMEOUT = 60.0  # seconds; sudo may wait for name servers and log daemons
END_GRACE = 5.0  # seconds from the end of a process's output to its exit status
_NO_PROGRAM = b"tvmops:no-become"
_SU_PROMPT = "Password:"  # in the C locale
GIVE_PASSWORD = "give the password: --ask-become-pass, ansible_become_password or $TVMOPS_BECOME_PASSWORD"  # noqa: S105


def start(connection: Connection, become: Become | None, script: str, timeout: float = START_TIMEOUT) -> Process:
    """Run `script` as the become user (None: the login user); returns once its first line is about to run.

    What login shells print before that is dropped. Neither program is used when the login user is the become user.
    The password goes to the program's stdin and only after it asked for it, so it can never reach the script.
    Raises BecomeError, HostUnreachable, AgentError when the login user's shell is no shell.
    """
    script = f"echo {BEGIN.decode()}; {script}"
    if become is None:
        process = connection.open(script)
        prompt = ""
    else:
        prompt = f"[tvmops-{secrets.token_hex(8)}]"
        process = connection.open(SCRIPTS[become.method](become, script, prompt))
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
    return _unless_it_is_me(become, script, exe, f'exec {exe} {command} /bin/sh -c "unset LC_ALL LANGUAGE; $s"')


def _su_script(become: Become, script: str, prompt: str) -> str:
    """su asks on stderr in its own words: what it says is told apart from earlier noise by the mark before it."""
    exe = shlex.quote(become.exe or "su")
    flags = shlex.join([*shlex.split(become.flags or ""), "-s", "/bin/sh", become.user])
    start = f'printf %s {shlex.quote(prompt)} >&2; exec {exe} {flags} -c "unset LC_ALL LANGUAGE; $s"'
    return _unless_it_is_me(become, script, exe, start)


def _unless_it_is_me(become: Become, script: str, exe: str, start: str) -> str:
    # LC_ALL=C is for the program's messages only.
    return (
        f"s={shlex.quote(script)}; "
        f'if [ "$(id -un)" = {shlex.quote(become.user)} ]; then eval "$s"; exit; fi; '
        f"command -v {exe} > /dev/null 2>&1 || {{ echo {_NO_PROGRAM.decode()}; exit 0; }}; "
        f"LC_ALL=C; LANGUAGE=C; export LC_ALL LANGUAGE; "
        f"{start}"
    )


SCRIPTS: dict[str, Callable[[Become, str, str], str]] = {"sudo": _sudo_script, "su": _su_script}


def _times_asked(become: Become | None, process: Process, prompt: str) -> int:
    """How often it has asked for the password."""
    if not prompt:
        return 0
    text = process.stderr_text()
    if become is not None and become.method == "su":
        return text.rpartition(prompt)[2].count(_SU_PROMPT) if prompt in text else 0
    return text.count(prompt)


def _await_begin(connection: Connection, become: Become | None, process: Process, prompt: str, timeout: float) -> None:
    deadline = Deadline(timeout)
    name = connection.host.name
    answered = False
    while True:
        while (line := process.take_line()) is not None:
            if line == BEGIN:
                return
            if line == _NO_PROGRAM:
                exe = become.exe if become and become.exe else become.method if become else "sudo"
                raise BecomeError(
                    f"{name}: {exe} is not installed on it, and the login user is not {become.user if become else ''}",
                    f"log in as root (ansible_user), or install {exe} there",
                )
        asked = _times_asked(become, process, prompt)
        if asked > 1:
            raise _not_accepted(name, become)
        if asked and become is not None and become.password is None:
            raise _no_password(name, become)
        if asked and not answered and become is not None and become.password is not None:
            with contextlib.suppress(BrokenPipeError):  # it gave up; why is on stderr
                process.write(become.password.encode() + b"\n")
            answered = True
        if process.ended():
            _raise_if_killed(connection, process)
            raise _refusal(name, become, process.stderr_text().rpartition(prompt)[2] if prompt else "", process)
        if deadline.passed():
            raise unreachable(connection.host, f"went silent: no shell started within {timeout:.0f} s")
        process.wait_output(deadline.left())


def _raise_if_killed(connection: Connection, process: Process) -> None:
    """HostUnreachable when a signal ended it, or the link did: what a board does that is going down.

    Programs that refuse say so and exit; 128 and more is what a shell says of a command that a signal ended.
    """
    status = process.wait(END_GRACE)
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        what = f"went away: what starts the agent was killed (signal {number})"
        raise unreachable(connection.host, what, "is it shutting down, or out of memory? look at its log (dmesg)")


def _refusal(name: str, become: Become | None, complaint: str, process: Process) -> TvmopsError:
    if become is None:
        text = process.stderr_text().strip() or "it ended without a word"
        return AgentError(f"{name}: the login user's shell did not run /bin/sh: {text}", "log in by hand to see")
    # su says what is wrong on the line on which it has asked.
    lines = [line.removeprefix(_SU_PROMPT).strip() for line in complaint.splitlines()]
    lines = [line for line in lines if line]
    last = lines[-1] if lines else f"{become.method} ended without a word"
    text = complaint.lower()
    if "password is required" in text and become.password is None:
        return _no_password(name, become)
    if any(words in text for words in ("incorrect password", "sorry, try again", "authentication failure")):
        return _not_accepted(name, become)
    if "unknown user" in text or "does not exist" in text:
        return BecomeError(f"{name}: there is no user '{become.user}' on it", "check ansible_become_user")
    if "sudoers" in text or "may not run" in text or "not allowed" in text:
        return BecomeError(
            f"{name}: the login user may not become {become.user}: {last}",
            "add the user to the group sudo there, or log in as root (ansible_user)",
        )
    hint = "try it by hand there: sudo -v" if become.method == "sudo" else f"try it by hand there: su {become.user}"
    return BecomeError(f"{name}: {become.method} to {become.user} failed: {last}", hint)


def _no_password(name: str, become: Become) -> BecomeError:
    message = f"{name}: {become.method} wants a password to become {become.user}, and none was given"
    return BecomeError(message, GIVE_PASSWORD)


def _not_accepted(name: str, become: Become | None) -> BecomeError:
    return BecomeError(f"{name}: {become.method if become else 'sudo'} did not accept the password", GIVE_PASSWORD)
