"""Hosts side by side: a thread each, no more at work than asked for, their events in one queue."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tvmops.connection.options import connection_kind
from tvmops.connection.sending import WORTH_TELLING
from tvmops.fleet.interrupt import Interruption
from tvmops.fleet.recap import Recap
from tvmops.fleet.record import HostRecord, new_run_folder, write_recap
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host
from tvmops.playbook.events import HostRecap, RunEvent
from tvmops.playbook.plan import HostPlan
from tvmops.playbook.run import HostRun
from tvmops.user import owner_name

if TYPE_CHECKING:
    from tvmops.fleet.run import PlaybookRun

SessionsFactory = Callable[[Host, Callable[[str], None]], HostSessions]


class Listener(Protocol):
    """Shows or keeps a run. Called by one thread only."""

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """The run begins; `totals` are the tasks known so far."""

    def event(self, event: RunEvent) -> None:
        """Something happened."""

    def end(self, recap: Recap) -> None:
        """The run is over, or broken off."""


@dataclass
class _Done:
    """A host has come to the end of a stage; `recap` when its run is over."""

    host: str
    recap: HostRecap | None


class Fleet:
    """One run's threads. Events come together in one queue, which the calling thread empties."""

    def __init__(
        self, prepared: PlaybookRun, listeners: list[Listener], make_sessions: SessionsFactory | None = None
    ) -> None:
        self._prepared = prepared
        self._listeners = listeners
        self._make_sessions = make_sessions or self._default_sessions
        self._events: queue.SimpleQueue[RunEvent | _Done] = queue.SimpleQueue()
        self._sessions: dict[str, HostSessions] = {}
        self._delegated: dict[str, HostSessions] = {}
        self._lock = threading.Lock()
        self._runs: dict[str, HostRun] = {}
        self._running: set[str] = set()
        self._recap = Recap()
        self._records: dict[str, HostRecord] = {}
        self._last: dict[str, RunEvent] = {}
        self._interruption = Interruption(self._stop_sessions)

    def run(self) -> Recap:
        """Run to the end, or until interrupted."""
        started = time.monotonic()
        plans = self._prepared.plans
        self._recap.folder = new_run_folder()
        self._add_records(plans)
        for listener in self._listeners:
            listener.begin(list(plans), {name: plan.total for name, plan in plans.items()})
        self._prepared.shared.progress.stopping = lambda: self._interruption.requested
        try:
            with self._interruption:
                self._run_stages()
        finally:
            for sessions in [*self._delegated.values(), *self._sessions.values()]:
                sessions.close()
        order = [name for name in self._records if name in self._recap.hosts]
        self._recap.hosts = {name: self._recap.hosts[name] for name in order}
        self._recap.interrupted = self._interruption.requested
        self._recap.seconds = time.monotonic() - started
        for record in self._records.values():
            record.close()
        write_recap(self._recap.folder, self._recap.as_dict())
        for listener in self._listeners:
            listener.end(self._recap)
        return self._recap

    def _add_records(self, plans: Mapping[str, HostPlan]) -> None:
        assert self._recap.folder is not None
        for name, plan in plans.items():
            if name not in self._records:
                self._records[name] = HostRecord(self._recap.folder, plan)
            else:
                self._records[name].add_plan(plan)

    def _run_stages(self) -> None:
        last = len(self._prepared.stages) - 1
        for number in range(last + 1):
            if not self._run_stage(self._plans(number), last=number == last):
                return
        for name, run in self._runs.items():
            if name not in self._recap.hosts:
                self._recap.hosts[name] = run.end()
                self._show_waiting()

    def _plans(self, stage: int) -> dict[str, HostPlan]:
        if stage == 0:
            return self._prepared.plans
        plans = self._prepared.plan(stage)
        self._add_records(plans)
        return {name: plan for name, plan in plans.items() if name not in self._recap.hosts}

    def _run_stage(self, plans: Mapping[str, HostPlan], *, last: bool) -> bool:
        """False when the run was left before its end."""
        shared = self._prepared.shared
        shared.progress.begin(plans, max(1, self._prepared.options.forks))
        for name, plan in plans.items():
            self._running.add(name)
            thread = threading.Thread(
                target=self._run_host, args=(shared.host(name), plan, last), name=f"host {name}", daemon=True
            )
            thread.start()
        while self._running:
            try:
                item = self._events.get(timeout=0.5)
            except queue.Empty:
                if self._interruption.give_up():
                    self._abandon()
                    return False
                continue
            self._handle(item)
        return not self._interruption.requested

    def _handle(self, item: RunEvent | _Done) -> None:
        if isinstance(item, RunEvent):
            self._show(item)
            return
        self._running.discard(item.host)
        if item.recap is not None:
            self._recap.hosts[item.host] = item.recap

    def _show_waiting(self) -> None:
        while not self._events.empty():
            self._handle(self._events.get())

    def _show(self, event: RunEvent) -> None:
        self._records[event.host].add(event)
        self._last[event.host] = event
        for listener in self._listeners:
            listener.event(event)

    def _run_host(self, host: Host, plan: HostPlan, last: bool) -> None:
        recap: HostRecap | None = None
        shared = self._prepared.shared
        try:
            with shared.progress.turn():
                if self._interruption.requested and host.name not in self._runs:
                    recap = HostRecap(host.name, interrupted=True)
                    return
                run = self._run_of(host)
                run.run(plan)
                if last or run.over or self._interruption.requested:
                    self._tell_sent(host.name)
                    recap = run.end()
                    self._sessions[host.name].close()
        except Exception as error:  # a fault of tvmops itself must not leave the others waiting
            recap = self._runs[host.name].report.recap if host.name in self._runs else HostRecap(host.name)
            recap.failed += 1
            recap.error = f"internal error: {type(error).__name__}: {error}"
            self._events.put(RunEvent("host", host.name, status="failed", text=_traceback()))
        finally:
            shared.progress.end(host.name)
            self._events.put(_Done(host.name, recap))

    def _tell_sent(self, host: str) -> None:
        """How much content went to the host, where it was worth waiting for."""
        sent = self._sessions[host].sent
        self._recap.sent[host] = sent.bytes
        if sent.bytes + sent.had >= WORTH_TELLING:
            rest = f"; {sent.had / 1e6:.1f} MB were there from a run that was broken off" if sent.had else ""
            self._events.put(RunEvent("note", host, text=f"{sent.bytes / 1e6:.1f} MB sent{rest}"))

    def _run_of(self, host: Host) -> HostRun:
        if host.name not in self._runs:

            def notify(line: str) -> None:
                self._events.put(RunEvent("progress", host.name, text=line))

            sessions = self._sessions[host.name] = self._make_sessions(host, notify)
            sessions.others, sessions.manners = self._other, self._prepared.manners
            sessions.tell = lambda line: self._events.put(RunEvent("note", host.name, text=line))
            self._runs[host.name] = HostRun(
                self._prepared.shared.state(host), sessions, self._events.put, lambda: self._interruption.requested
            )
        return self._runs[host.name]

    def _other(self, name: str) -> HostSessions:
        """Sessions for tasks that are delegated to a host; they are not those of its own run."""
        with self._lock:
            if name not in self._delegated:
                host = self._prepared.shared.host(name)
                sessions = self._delegated[name] = self._make_sessions(host, lambda _line: None)
                sessions.others, sessions.manners = self._other, self._prepared.manners
                if connection_kind(host) == "local":
                    sessions.tag = None  # runs on different boards may all have something to do on this machine
            return self._delegated[name]

    def _default_sessions(self, host: Host, notify: Callable[[str], None]) -> HostSessions:
        from tvmops.connection.session import RunTag

        assert self._recap.folder is not None
        tag: RunTag | None = RunTag(self._recap.folder.name, owner_name(), self._prepared.what)
        if not self._prepared.holds_this_machine and connection_kind(host) == "local":
            tag = None
        return HostSessions(host, self._prepared.options.become_password, notify, tag)

    def _stop_sessions(self) -> None:
        # In threads: one host whose link is gone must not keep the others from hearing of it.
        for sessions in [*self._sessions.values(), *self._delegated.values()]:
            threading.Thread(target=sessions.stop_after_task, daemon=True).start()

    def _abandon(self) -> None:
        """Leave the hosts that have not ended: each finishes its task by itself, and is recorded as it stands."""
        for name in list(self._running):
            last = self._last.get(name)
            task, position = (last.task, last.position) if last else ("", "")
            begun = name in self._runs
            self._recap.hosts[name] = HostRecap(
                name, interrupted=True, task=task, position=position, running=begun and bool(task)
            )


def _traceback() -> str:
    import traceback

    return traceback.format_exc()
