"""Undoing a run on boards: every account that the run worked as keeps a journal of its own there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tvmops.errors import AgentError, BecomeError, ConfigError, TvmopsError
from tvmops.fleet.facts import setup_task
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host
from tvmops.user import owner_name

if TYPE_CHECKING:
    from tvmops.connection.session import AgentSession

FORKS = 50
LAST = "last"  # instead of a run's name: the newest on the board that is not undone


@dataclass(frozen=True)
class Wish:
    """What to undo, and how. `password` is for sudo; `by` names the run that does it."""

    run: str
    by: str
    check: bool = False
    diff: bool = False
    force: bool = False
    password: str | None = None


@dataclass
class Undone:
    """What became of one host. `results` has one entry per account: {"user", "run", and what the board says}."""

    host: str
    results: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: TvmopsError | None = None

    @property
    def complete(self) -> bool:
        """True when every change of a file that the run had made is undone."""
        left = any(one.get("conflicts") or one.get("lost") for one in self.results)
        return self.error is None and not left


def known_runs(hosts: Sequence[Host], password: str | None = None) -> list[Undone]:
    """The runs that can be undone: `results` has one entry per run, oldest first, with the `user` it ran as."""
    return _everywhere(hosts, password, _list)


def restore(hosts: Sequence[Host], wish: Wish) -> list[Undone]:
    """Undo a run on each host. A host that has no journal of it gets a ConfigError."""
    return _everywhere(hosts, wish.password, lambda sessions, undone: _restore(sessions, undone, wish))


def _everywhere(
    hosts: Sequence[Host], password: str | None, work: Callable[[HostSessions, Undone], None]
) -> list[Undone]:
    def one(host: Host) -> Undone:
        undone = Undone(host.name)
        sessions = HostSessions(host, password)
        try:
            work(sessions, undone)
        except TvmopsError as error:
            undone.error = error
        finally:
            sessions.close()
        return undone

    with ThreadPoolExecutor(max_workers=max(1, min(FORKS, len(hosts)))) as pool:
        return list(pool.map(one, hosts))


def _accounts(sessions: HostSessions, undone: Undone) -> Iterator[tuple[AgentSession, str]]:
    """Sessions and the user of each: the login user and, when that is another one, root."""
    login = sessions.session(False)
    yield login, str(login.info.get("user"))
    if login.info.get("uid") != 0:
        try:
            yield sessions.session(True), "root"
        except BecomeError as error:
            undone.notes.append(f"what root did there cannot be seen: {error.message}")


def _list(sessions: HostSessions, undone: Undone) -> None:
    for session, user in _accounts(sessions, undone):
        found = _ask(session, {"list": True})["runs"]
        undone.results += [{"user": user, **run} for run in found]
    undone.results.sort(key=lambda run: run["started"])


def _restore(sessions: HostSessions, undone: Undone, wish: Wish) -> None:
    from tvmops.connection.session import RunTag

    _list(sessions, undone)
    runs, undone.results = undone.results, []
    name = _chosen(runs, wish.run, undone.host)
    # The account that began last is undone first: what it did may lie on top of what the other one did.
    for user in reversed([run["user"] for run in runs if run["run"] == name]):
        session = sessions.session(user == "root" and sessions.session(False).info.get("uid") != 0)
        if not wish.check:
            session.tag = RunTag(wish.by, owner_name(), f"restore of {name}")
        args = {"run": name, "by": wish.by, "force": wish.force}
        undone.results.append({"user": user, "run": name, **_ask(session, args, wish.check, wish.diff)})


def _chosen(runs: list[dict[str, Any]], wanted: str, host: str) -> str:
    if wanted == LAST:
        able = [run for run in runs if run["paths"]]
        if able:
            return str(able[-1]["run"])
    elif any(run["run"] == wanted for run in runs):
        return wanted
    which = "any run" if wanted == LAST else f"the run {wanted}"
    raise ConfigError(f"{host}: no journal of {which} is there", f"see: tvmops restore --host {host} --list")


def _ask(session: AgentSession, args: dict[str, Any], check: bool = False, diff: bool = False) -> dict[str, Any]:
    results: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["ev"] == "done":
            results.append(event["result"])

    task = {**setup_task(1), "module": "restore_run", "args": args, "name": "restore"}
    session.run_batch({"id": 1, "check": check, "diff": diff, "tasks": [task]}, _no_blobs, listen)
    if not results or results[0].get("failed"):
        reason = results[0].get("msg") if results else "the agent sent no result"
        raise AgentError(f"{session.host.name}: restore: {reason}")
    return results[0]


def _no_blobs(digest: str) -> bytes:
    raise AgentError(f"the agent asked for content {digest} that no task mentions")
