"""How usable a board's RPC server is to a client, in one word, and why."""

from __future__ import annotations

from dataclasses import dataclass

from tvmops.board_locks import Lease
from tvmops.errors import HostUnreachable, TvmopsError
from tvmops.rpc.server import ServerStatus
from tvmops.rpc.tracker import KeySummary

FREE = "free"
BUSY = "busy"  # it serves a client, or somebody holds its lease
UNKNOWN_KEY = "unknown key"  # the server, or its tracker, does not know the key of the inventory
NO_SERVER = "no server"  # nothing listens on its port
NO_ANSWER = "no answer"  # something listens, and says nothing: wedged
NO_DATA = "no data port"  # a tracker offers it to clients, but its port does not answer
TAKEN = "port taken"  # another program has the port
VERSION_MISMATCH = "version mismatch"  # its runtime is not the TVM of its stack
UNREACHABLE = "unreachable"
UNKNOWN = "unknown"  # the board cannot be looked at, as without sudo
USABLE = (FREE, BUSY)
RESTART_HELPS = (NO_SERVER, NO_ANSWER, NO_DATA)


@dataclass(frozen=True)
class TrackerView:
    """A board's tracker: where, what it knows of the board's key (None: nothing), and whether it has this board.

    `port_problem` says why the port to which it sends clients does not answer.
    """

    where: str
    key: str
    summary: KeySummary | None = None
    has_board: bool = False
    problem: str = ""
    port_problem: str = ""


@dataclass(frozen=True)
class Expected:
    """What the inventory says of a board: the key of its server, its stack and that stack's TVM ("": nothing)."""

    key: str = ""
    stack: str = ""
    version: str = ""


@dataclass(frozen=True)
class Condition:
    """One word, and for people why."""

    word: str
    text: str = ""


def condition_of(
    status: ServerStatus | TvmopsError,
    expected: Expected = Expected(),
    lease: Lease | None = None,
    tracker: TrackerView | None = None,
) -> Condition:
    """The first that applies, the worst first."""
    if isinstance(status, TvmopsError):
        return Condition(UNREACHABLE if isinstance(status, HostUnreachable) else UNKNOWN, status.message)
    if status.foreign:
        return Condition(TAKEN, status.problem)
    if status.problem:
        return _unanswered(status, tracker)
    return (
        _versions(status, expected)
        or _keys(status, expected, tracker)
        or _port_of_tracker(tracker)
        or _use(status, lease, tracker)
    )


def _unanswered(status: ServerStatus, tracker: TrackerView | None) -> Condition:
    if tracker is not None and tracker.has_board:
        return Condition(NO_DATA, f"{tracker.where} offers it, but {status.problem}")
    return Condition(NO_ANSWER if status.listening else NO_SERVER, status.problem)


def _versions(status: ServerStatus, expected: Expected) -> Condition | None:
    if not expected.version or status.release is None or status.release.tvm == expected.version:
        return None
    text = f"it carries TVM {status.release.tvm}, its stack {expected.stack} is TVM {expected.version}"
    return Condition(VERSION_MISMATCH, f"{text}: tvmops provision --host {status.host}")


def _keys(status: ServerStatus, expected: Expected, tracker: TrackerView | None) -> Condition | None:
    if status.key is not None and status.key != expected.key:
        text = f"its server was started with the key '{status.key}', but tvm_rpc_key is '{expected.key}'"
        return Condition(UNKNOWN_KEY, f"{text}: tvmops playbook playbooks/rpc-server.yml --host {status.host}")
    if tracker is None or tracker.problem or (tracker.summary is not None and tracker.summary.servers):
        return None
    return Condition(UNKNOWN_KEY, f"{tracker.where} has no server of the key '{tracker.key}'")


def _port_of_tracker(tracker: TrackerView | None) -> Condition | None:
    if tracker is None or not tracker.port_problem:
        return None
    return Condition(NO_DATA, f"{tracker.where} offers it, but {tracker.port_problem}")


def _use(status: ServerStatus, lease: Lease | None, tracker: TrackerView | None) -> Condition:
    away = f"its tracker: {tracker.problem}" if tracker is not None and tracker.problem else ""
    if lease is not None:
        return Condition(BUSY, f"held by {lease}")
    if status.busy:
        return Condition(BUSY, "it serves a client that holds no lease")
    return Condition(FREE, away)
