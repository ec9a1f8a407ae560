"""A playbook on many hosts at once: each at its own pace, none waiting for another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.fleet.interrupt import Interruption
from tvmops.fleet.lost import Manners, owner_name
from tvmops.fleet.recap import Recap
from tvmops.fleet.record import HostRecord, new_run_folder, write_recap
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host, Inventory
from tvmops.playbook.events import HostRecap, RunEvent
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.model import Play
from tvmops.playbook.plan import HostPlan
from tvmops.playbook.run import HostRun, plan_host
from tvmops.playbook.state import RunOptions, Shared
from tvmops.playbook.values import final
from tvmops.playbook.variables import Scope, Written

if TYPE_CHECKING:
    from tvmops.connection.session import RunTag

SessionsFactory = Callable[[Host, Callable[[str], None]], HostSessions]


class Listener(Protocol):
    """Shows or keeps a run. Called by one thread only."""

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """The run begins; `totals` are the tasks known so far."""

    def event(self, event: RunEvent) -> None:
        """Something happened."""

    def end(self, recap: Recap) -> None:
        """The run is over, or broken off."""


def hosts_of_play(play: Play, inventory: Inventory, options: RunOptions) -> list[Host]:
    """A play's hosts within --limit. Raises ConfigError."""
    pattern = str(final(play.hosts, Scope([Written(options.extra_vars)]), play.hosts_at))
    try:
        hosts = inventory.select(pattern)
    except ConfigError as error:
        raise ConfigError(f"{play.hosts_at}: {error.message}", error.hint) from None
    if options.limit is None:
        return hosts
    allowed = {host.name for host in inventory.select(options.limit)}
    return [host for host in hosts if host.name in allowed]


def hosts_of_plays(plays: Sequence[Play], inventory: Inventory, options: RunOptions) -> list[Host]:
    """All plays' hosts, each once. Raises ConfigError."""
    return list({host.name: host for play in plays for host in hosts_of_play(play, inventory, options)}.values())


class PlaybookRun:
    """A playbook, loaded and planned: everything that can be refused has been, and no host has been touched."""

    def __init__(
        self,
        plays: Sequence[Play],
        inventory: Inventory,
        options: RunOptions,
        host_extra_vars: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Raises ConfigError, ConfigErrors."""
        self.options = options
        self.what = Path(str(plays[0].position.path)).name if plays else ""
        self.shared = Shared(inventory, options, host_extra_vars)
        self.hosts = {host.name: host for host in hosts_of_plays(plays, inventory, options)}
        members = [[host.name for host in hosts_of_play(play, inventory, options)] for play in plays]
        self.plans: dict[str, HostPlan] = {}
        problems: dict[str, ConfigError] = {}
        for host in self.hosts.values():
            plan = self.plans[host.name] = plan_host(self.shared.state(host), list(zip(plays, members, strict=True)))
            for problem in plan.problems:
                problems.setdefault(problem.message, problem)
        if problems:
            found = list(problems.values())
            raise found[0] if len(found) == 1 else ConfigErrors(found)

    def run(self, listeners: Sequence[Listener] = (), make_sessions: SessionsFactory | None = None) -> Recap:
        """Run on all hosts and tell the listeners. Ctrl-C ends it early; the recap says so."""
        return _Fleet(self, list(listeners), make_sessions or self._sessions).run()

    def _sessions(self, host: Host, notify: Callable[[str], None]) -> HostSessions:
        return HostSessions(host, self.options.become_password, notify)


def run_playbook(
    paths: Sequence[str | Path],
    inventory: Inventory,
    options: RunOptions,
    listeners: Sequence[Listener] = (),
    host_extra_vars: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recap:
    """Load, plan and run playbooks. Raises ConfigError before any host is touched when something is wrong with them."""
    return PlaybookRun(load_playbooks(paths), inventory, options, host_extra_vars).run(listeners)


class _Fleet:
    """One run's threads. Events come together in one queue, which the calling thread empties."""

    def __init__(self, prepared: PlaybookRun, listeners: list[Listener], make_sessions: SessionsFactory) -> None:
        self._prepared = prepared
        self._listeners = listeners
        self._make_sessions = make_sessions
        self._events: queue.SimpleQueue[RunEvent | HostRecap] = queue.SimpleQueue()
        self._sessions: dict[str, HostSessions] = {}
        self._waiting = list(prepared.hosts.values())
        self._threads: dict[str, threading.Thread] = {}
        self._recap = Recap()
        self._records: dict[str, HostRecord] = {}
        self._last: dict[str, RunEvent] = {}
        self._interruption = Interruption(self._stop_sessions)
        self._tag: RunTag | None = None
        self._manners = Manners(prepared.options.wait, prepared.options.steal)

    def run(self) -> Recap:
        """Run to the end, or until interrupted."""
        from tvmops.connection.session import RunTag

        started = time.monotonic()
        plans = self._prepared.plans
        self._recap.folder = new_run_folder()
        self._tag = RunTag(self._recap.folder.name, owner_name(), self._prepared.what)
        self._records = {name: HostRecord(self._recap.folder, plan) for name, plan in plans.items()}
        for listener in self._listeners:
            listener.begin(list(plans), {name: plan.total for name, plan in plans.items()})
        self._prepared.shared.progress.stopping = lambda: self._interruption.requested
        with self._interruption:
            self._start_more()
            self._loop(len(plans))
        order = [name for name in plans if name in self._recap.hosts]
        self._recap.hosts = {name: self._recap.hosts[name] for name in order}
        self._recap.interrupted = self._interruption.requested
        self._recap.seconds = time.monotonic() - started
        for record in self._records.values():
            record.close()
        write_recap(self._recap.folder, self._recap.as_dict())
        for listener in self._listeners:
            listener.end(self._recap)
        return self._recap

    def _loop(self, hosts: int) -> None:
        while len(self._recap.hosts) < hosts:
            try:
                item = self._events.get(timeout=0.5)
            except queue.Empty:
                if self._interruption.give_up():
                    self._abandon()
                    return
                if self._interruption.requested:
                    self._drop_waiting()
                continue
            if isinstance(item, HostRecap):
                self._recap.hosts[item.host] = item
                self._threads.pop(item.host, None)
                self._start_more()
            else:
                self._show(item)

    def _show(self, event: RunEvent) -> None:
        self._records[event.host].add(event)
        self._last[event.host] = event
        for listener in self._listeners:
            listener.event(event)

    def _start_more(self) -> None:
        if self._interruption.requested:
            self._drop_waiting()
            return
        while self._waiting and len(self._threads) < max(1, self._prepared.options.forks):
            host = self._waiting.pop(0)
            self._prepared.shared.progress.at(host.name, (0, 0))
            thread = threading.Thread(target=self._run_host, args=(host,), name=f"host {host.name}", daemon=True)
            self._threads[host.name] = thread
            thread.start()

    def _drop_waiting(self) -> None:
        for host in self._waiting:
            self._recap.hosts[host.name] = HostRecap(host.name, interrupted=True)
        self._waiting = []

    def _run_host(self, host: Host) -> None:
        def notify(line: str) -> None:
            self._events.put(RunEvent("progress", host.name, text=line))

        sessions = self._make_sessions(host, notify)
        sessions.tag, sessions.manners = self._tag, self._manners
        sessions.tell = lambda line: self._events.put(RunEvent("note", host.name, text=line))
        self._sessions[host.name] = sessions
        run = HostRun(
            self._prepared.shared.state(host),
            self._prepared.plans[host.name],
            sessions,
            self._events.put,
            lambda: self._interruption.requested,
        )
        try:
            recap = run.run()
        except Exception as error:  # a fault of tvmops itself must not leave the others waiting
            recap = run.report.recap
            recap.failed += 1
            recap.error = f"internal error: {type(error).__name__}: {error}"
            self._events.put(RunEvent("host", host.name, status="failed", text=_traceback()))
        finally:
            sessions.close()
        self._events.put(recap)

    def _stop_sessions(self) -> None:
        # In threads: one host whose link is gone must not keep the others from hearing of it.
        for sessions in list(self._sessions.values()):
            threading.Thread(target=sessions.stop_after_task, daemon=True).start()

    def _abandon(self) -> None:
        """Leave the hosts that have not ended: each finishes its task by itself, and is recorded as it stands."""
        self._drop_waiting()
        for name in list(self._threads):
            last = self._last.get(name)
            task, position = (last.task, last.position) if last else ("", "")
            self._recap.hosts[name] = HostRecap(name, interrupted=True, task=task, position=position, running=True)


def _traceback() -> str:
    import traceback

    return traceback.format_exc()
