"""One host among the others of its play: where it waits for them, what it is told, what it tells."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tvmops.playbook.conduct import flag, number
from tvmops.playbook.model import Task
from tvmops.playbook.plan import Entry, PlayPlan
from tvmops.playbook.progress import AFTER_TASKS, Place
from tvmops.playbook.state import HostState
from tvmops.playbook.together import Meeting, Order
from tvmops.playbook.variables import Scope

# Modules that the first host carries out for all.
FOR_ALL = frozenset(("add_host", "pause"))
ARRIVED, DONE = (0,), (0, 1)  # after an entry's trail; the tasks that an include brings in come after both


def is_forgiving(task: Task) -> bool:
    """True for `meta: clear_host_errors`."""
    if task.module != "meta" or not task.args.constant:
        return False
    return bool(task.args.loose({}).get("_raw_params") == "clear_host_errors")


class HostStopped(Exception):
    """The host's run ends here because of what happened to others."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Company:
    """The others of a host's play. `scope` gives the scope of a task."""

    def __init__(self, state: HostState, planned: PlayPlan, scope: Callable[[Entry], Scope]) -> None:
        self._shared = state.shared
        self._state = state
        self._host = state.host.name
        self._planned = planned
        self._scope = scope
        self._together = state.shared.together
        self._progress = state.shared.progress
        self.group = self._together.group(planned.number, planned.batch_number)
        self._orders_seen = 0
        self._limit = self._max_fail_percentage()
        self._fatal = self._play_flag("any_errors_fatal")
        alone = len(planned.batch) <= 1
        self.free = planned.play.strategy == "free"
        self.lockstep = not alone and (planned.play.strategy == "linear" or self._fatal or self._limit is not None)

    def _play_flag(self, name: str) -> bool:
        play = self._planned.play
        return flag(getattr(play, name), Scope([self._shared.extra, play.vars, self._state.inventory_vars]))

    def _max_fail_percentage(self) -> float | None:
        play = self._planned.play
        scope = Scope([self._shared.extra, play.vars, self._state.inventory_vars])
        return number(play.max_fail_percentage, scope, "max_fail_percentage")

    def place(self, trail: Place) -> Place:
        """The host's place in the run for a trail in its play."""
        return (self._planned.number, self._planned.batch_number, *trail)

    def at(self, trail: Place) -> None:
        """Everything before this is done."""
        self._progress.at(self._host, self.place(trail))

    def begin(self) -> bool:
        """Wait for the serial batches before this host's; False when the play is over already. Raises HostStopped."""
        self._progress.at(self._host, (self._planned.number,))
        lost = self._together.lost_before(self._planned.number)
        if lost:
            raise HostStopped(lost)
        self.at(())
        for group in self._together.earlier(self._planned.number, self._planned.batch_number):
            self._progress.wait_for(group.hosts, self.place(()))
            if group.lost:
                raise HostStopped(f"all hosts of an earlier serial batch have failed: {', '.join(group.hosts)}")
        return not self._together.ended(self._planned.number)

    def last(self) -> None:
        """Everything is done; in a play in lockstep the others may yet have something to say."""
        if self.lockstep:
            self.arrive((AFTER_TASKS,))
            self._count()

    def end(self) -> None:
        """The play is over for this host."""
        self._progress.at(self._host, (self._planned.number, AFTER_TASKS))

    def arrive(self, trail: Place) -> None:
        """Wait until all others have come as far."""
        self.at(trail)
        self._progress.wait_for(self.group.hosts, self.place(trail))

    def once(self, entry: Entry) -> bool:
        """Whether the first host carries the task out for all. Raises TemplateFault, Pending."""
        if self.free or len(self._planned.batch) <= 1:
            return False
        return entry.task.module in FOR_ALL or flag(entry.task.run_once, self._scope(entry))

    def fatal(self, entry: Entry) -> bool:
        """Whether the task's failure is one of all hosts. Raises TemplateFault, Pending."""
        if self.free:
            return False
        given = entry.task.any_errors_fatal
        return self._fatal if given is None else flag(given, self._scope(entry))

    def together(self, task: Task) -> bool:
        """True when a task may have to do with other hosts."""
        return (
            self.lockstep or task.run_once is not None or task.any_errors_fatal is not None
            or task.throttle is not None or self._planned.play.throttle is not None or task.module in FOR_ALL
            or self.gives_facts(task)
        )  # fmt: skip

    def gives_facts(self, task: Task) -> bool:
        """True when hosts may set each other's facts here: all wait until they are set."""
        return not self.free and task.delegate_to is not None and task.delegate_facts is not None

    def meet(self, entry: Entry) -> tuple[Meeting, bool]:
        """Wait for all others that come to a task; (what they share, whether this host is the first of them)."""
        trail = (*entry.trail, *ARRIVED)
        meeting = self._together.meet(self.group, (self.place(trail), entry.task.id), self._host)
        self.arrive(trail)
        first = next((host for host in self.group.hosts if host in meeting.arrived), self._host)
        return meeting, first == self._host

    def outcome(self, meeting: Meeting) -> dict[str, Any] | None:
        """What the first host has to give; None when it ended before."""
        self._together.wait(meeting.done)
        return meeting.outcome

    def leave(self, entry: Entry) -> None:
        """Wait until all others that came to a task have done with it."""
        self.arrive((*entry.trail, *DONE))
        self._count()

    @contextlib.contextmanager
    def throttled(self, entry: Entry) -> Iterator[None]:
        """Carry a task out only while not too many others do. Raises TemplateFault, Pending."""
        given = entry.task.throttle if entry.task.throttle is not None else self._planned.play.throttle
        most = int(number(given, self._scope(entry), "throttle") or 0)
        if not 0 < most < len(self._planned.batch):
            yield
            return
        with self._together.slot(self._planned.number, entry.task.id, most):
            yield

    def tell(self, kind: str, text: str, *, twice: bool = False) -> None:
        """Tell all hosts of the batch what they have to do."""
        self._together.order(self.group, Order(kind, self._host, text, twice))

    def end_play(self) -> None:
        """No later serial batch begins this play."""
        self._together.end_play(self._planned.number)

    def told(self) -> Order | None:
        """The next thing that another host has told this one."""
        while self._orders_seen < len(self.group.orders):
            order = self.group.orders[self._orders_seen]
            self._orders_seen += 1
            if order.by != self._host:
                return order
        return None

    def fails(self, *, unreachable: bool = False) -> None:
        """This host's run ends with a failure."""
        (self.group.unreachable if unreachable else self.group.failed).add(self._host)

    def forgive(self) -> None:
        """The hosts that have failed so far take part in the plays after this one."""
        self._together.forgive(self.group)

    def forgiven(self) -> bool:
        """Wait for the end of a play in which hosts may be forgiven; whether this one was."""
        if not any(is_forgiving(task) for task in self._planned.play.tasks):
            return False
        self._progress.at(self._host, (self._planned.number, AFTER_TASKS))
        self._progress.wait_for(self.group.hosts, (self._planned.number, AFTER_TASKS))
        return self._host in self.group.forgiven

    def left(self) -> tuple[list[str], list[str]]:
        """(hosts of the play, hosts of the batch) that have not failed so far."""
        gone = self._together.gone(self._planned.number)
        return [host for host in self._planned.hosts if host not in gone], [
            host for host in self._planned.batch if host not in gone
        ]

    def _count(self) -> None:
        """End the play here when too many have failed."""
        if self._limit is None or not self.group.failed:
            return
        failed = 100.0 * len(self.group.failed) / len(self.group.hosts)
        if failed > self._limit:
            self.group.failed.add(self._host)
            raise HostStopped(f"{failed:.0f} % of the hosts have failed, and max_fail_percentage is {self._limit:g}")
