"""Every error a user can meet: one tree, one exit code each, a message that says what to do next.

Exit codes 2 and 4 mean what they mean to Ansible's users: a task failed, a host was unreachable.
"""

from __future__ import annotations

from collections.abc import Sequence


class TvmopsError(Exception):
    """The root. `message` says what happened (naming file:line, host or option), `hint` what to do next."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class TaskFailed(TvmopsError):
    """At least one task failed on at least one host."""

    exit_code = 2


class HostUnreachable(TvmopsError):
    """A host could not be reached, or went silent, within its deadline."""

    exit_code = 4


class ConfigError(TvmopsError):
    """What the user wrote (inventory, playbook, stack, sweep, option) cannot be used; starts with file:line:column."""

    exit_code = 5


class ConfigErrors(ConfigError):
    """All the faults found in the user's files at once; `errors` has them in reading order."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class HostKeyError(HostUnreachable):
    """The host's key is unknown or has changed. Nothing was sent to the host."""

    exit_code = 6


class AuthenticationError(HostUnreachable):
    """The host refused every key and password offered."""

    exit_code = 7


class BecomeError(TvmopsError):
    """The login user could not become the task's user (no sudo, wrong password, not allowed)."""

    exit_code = 8


class AgentError(TvmopsError):
    """The agent could not be started on a host, or broke the protocol."""

    exit_code = 9


class JobFailed(TvmopsError):
    """A sweep ended with failed jobs; the others' results are stored."""

    exit_code = 10


class StoreError(TvmopsError):
    """The results file cannot be used, e.g. it was written by a newer version."""

    exit_code = 11


class LabError(TvmopsError):
    """A virtual board could not be made, started or changed."""

    exit_code = 12


class StackError(TvmopsError):
    """A stack, its environment or its runtime artifact cannot be made or does not fit a board."""

    exit_code = 13


class RpcError(TvmopsError):
    """A board's RPC server does not answer a handshake, or is another version."""

    exit_code = 14


class MissingTool(TvmopsError):
    """A program this command needs is not installed on the controller."""

    exit_code = 15


class HostBusy(TvmopsError):
    """Another run works on the host; nothing was done there."""

    exit_code = 16


class BundleError(TvmopsError):
    """An offline bundle cannot be made, read or applied."""

    exit_code = 17


class Interrupted(TvmopsError):
    """Ctrl-C. The message says where things stopped and how to go on."""

    exit_code = 130
