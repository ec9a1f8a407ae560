"""Watching what runs on hosts without us, or what the last lost run left there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tvmops.connection.situation import whose
from tvmops.errors import BecomeError, TvmopsError
from tvmops.fleet.lost import follow
from tvmops.fleet.recap import Recap
from tvmops.fleet.replay import told_end
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host
from tvmops.playbook.events import HostRecap, RunEvent
from tvmops.user import owner_name

if TYPE_CHECKING:
    from tvmops.connection.session import AgentSession
    from tvmops.fleet.fleet import Listener

NOTHING = "nothing runs there, and no lost run has left anything"


def attach(hosts: Sequence[Host], listener: Listener, *, password: str | None = None, stop: bool = False) -> Recap:
    """Follow what runs on each host, or show the last lost run; the recap counts what was seen of them.

    `stop`: let running batches end after the task they are at.
    """
    events: queue.SimpleQueue[RunEvent | HostRecap] = queue.SimpleQueue()
    watchers = [_Watcher(host, events, password, stop) for host in hosts]
    listener.begin([host.name for host in hosts], {host.name: 0 for host in hosts})
    for one in watchers:
        threading.Thread(target=one.run, name=f"host {one.host.name}", daemon=True).start()
    recap = Recap()
    try:
        while len(recap.hosts) < len(hosts):
            item = events.get()
            if isinstance(item, HostRecap):
                recap.hosts[item.host] = item
            else:
                listener.event(item)
    finally:
        for one in watchers:
            one.sessions.close()
    listener.end(recap)
    return recap


class _Watcher:
    """One host's thread."""

    def __init__(
        self, host: Host, events: queue.SimpleQueue[RunEvent | HostRecap], password: str | None, stop: bool
    ) -> None:
        self.host = host
        self.sessions = HostSessions(host, password, self._progress)
        self._events = events
        self._stop = stop

    def run(self) -> None:
        """Watch to the end and put a HostRecap last."""
        recap = HostRecap(self.host.name)
        try:
            found = [self._watch(session) for session in self._accounts()]
            seen = [one for one in found if one is not None]
            if seen:
                recap = seen[-1]
            else:
                self._note(NOTHING)
        except TvmopsError as error:
            recap.error, recap.hint, recap.exit_code = error.message, error.hint, error.exit_code
            recap.unreachable, recap.failed = int(error.exit_code in (4, 6, 7)), int(error.exit_code not in (4, 6, 7))
        finally:
            self._events.put(recap)

    def _accounts(self) -> Iterator[AgentSession]:
        """A session as the login user and, when that is another one, as root: each has a lease of its own."""
        login = self.sessions.session(False)
        yield login
        if login.info.get("uid") != 0:
            try:
                yield self.sessions.session(True)
            except BecomeError as error:
                self._note(f"what root runs there cannot be seen: {error.message}")

    def _watch(self, session: AgentSession) -> HostRecap | None:
        lease = session.info.get("lease")
        if lease:
            return self._follow(session, lease)
        finished: list[dict[str, Any]] = sorted(
            session.info.get("finished") or (), key=lambda run: run.get("ended") or 0
        )
        if not finished:
            return None
        last = finished[-1]
        self._note(f"{last.get('owner')}: {told_end(last)}")
        replay = follow(session, str(last["run"]), self._events.put)
        if last.get("owner") == owner_name():
            session.forget(str(last["run"]))
        return replay.recap

    def _follow(self, session: AgentSession, lease: dict[str, Any]) -> HostRecap:
        link = "" if lease.get("connected") else ", which was cut off"
        self._note(f"{whose(lease)}{link}")
        if self._stop:
            session.interrupt(str(lease["run"]))
            self._note("its running task is the last")
        return follow(session, str(lease["run"]), self._events.put).recap

    def _note(self, text: str) -> None:
        self._events.put(RunEvent("note", self.host.name, text=text))

    def _progress(self, text: str) -> None:
        self._events.put(RunEvent("progress", self.host.name, text=text))
