"""Where a host's batches break and why, as far as that can be told before the board has said anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.playbook.alone import goes_alone
from tvmops.playbook.batch import Queued
from tvmops.playbook.faults import Pending
from tvmops.playbook.local import MODULES as LOCAL
from tvmops.playbook.plan import Entry, HostPlan, PlayPlan, names_set_by, title_of
from tvmops.playbook.prepare import TaskContext, prepare_task
from tvmops.playbook.prepared import Prepared
from tvmops.playbook.state import HostState
from tvmops.playbook.variables import AWAITED, FACT_MODULES, Awaited


@dataclass
class Break:
    """A batch ends before, or with, a task."""

    before: str
    reason: str


@dataclass
class Batches:
    """One play's batches: the number of tasks of the board in each, and what stands between them."""

    play: PlayPlan
    sizes: list[int] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        title = self.play.play.name or "play"
        total = sum(self.sizes)
        tasks = "1 task" if total == 1 else f"{total} tasks"
        batches = "1 batch" if len(self.sizes) == 1 else f"{len(self.sizes)} batches"
        shown = [f"{title} ({self.play.play.position}): {tasks} for the board in {batches}"]
        for number, size in enumerate(self.sizes):
            shown.append(f"  batch {number + 1}: {'1 task' if size == 1 else f'{size} tasks'}")
            if number < len(self.breaks):
                one = self.breaks[number]
                shown.append(f"    then, before {one.before}: {one.reason}")
        return shown + [f"  {note}" for note in self.notes]


# A result of a batch that has ended: the planner has no value for it, a run would.
TOLD = Awaited()


class _Anything:
    """Stands for such a result while a task is looked through for what else it needs."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __getitem__(self, key: Any) -> _Anything:
        return self

    def __iter__(self) -> Iterator[_Anything]:
        return iter(())  # without it Python would ask for item 0, 1, 2 and never end

    def __call__(self, *args: Any, **kwargs: Any) -> _Anything:  # noqa: ARG002
        return self


class Foreseen:
    """Told by the planner of every task in its turn. `state` is the planner's."""

    def __init__(self, state: HostState) -> None:
        self._state = state
        self._facts_told = False
        self._given: list[str] = []  # what tasks of the controller have set out of results that are told
        self.plays: list[Batches] = []
        self._size = 0
        self._on_board: set[str] = set()
        self._place: tuple[str | None, bool] | None = None
        self._notifies = False
        self._due = ""

    @property
    def on_board(self) -> frozenset[str]:
        """Results that the board will have in the batch that is being filled."""
        return frozenset(self._on_board)

    def begin(self, planned: PlayPlan) -> None:
        """A play begins."""
        self.plays.append(Batches(planned))
        self._place, self._notifies = None, False

    def end(self) -> None:
        """A play is over."""
        self._close()

    def ready(self, entry: Entry, prepared: Prepared, context: TaskContext) -> None:
        """A task that is worked out."""
        if entry.task.notify is not None:
            self._notifies = True
        if not prepared.remote:
            return
        if goes_alone(prepared):
            self._cut(entry, "it is taken step by step from here")
            self._add(entry)
            self._due = "the task before it was taken step by step"
            return
        place = (prepared.target, prepared.conduct.become_user is not None and prepared.target is not None)
        if self._size and self._place is not None and place != self._place:
            where = f"it is delegated to {prepared.target}" if prepared.target else "it is this host's own again"
            self._cut(entry, where)
        if self._due:
            self._cut(entry, self._due)
        self._place = place
        self._add(entry)
        register = entry.task.register
        if register and Queued(entry, prepared, context).known_on_board():
            self._on_board.add(register)
        elif register:
            self._on_board.discard(register)
        if prepared.decides_failed:
            self._due = f"whether '{prepared.title}' has failed is decided here"

    def waits(self, entry: Entry, context: TaskContext | None, name: str) -> None:
        """A task that needs something; `context` is given when that is a result, which the board may have."""
        if context is not None and self._on_board:
            context.on_board = self.on_board
            try:
                self.ready(entry, prepare_task(context, entry.task), context)
                return
            except Pending:
                pass
        if entry.task.notify is not None:
            self._notifies = True
        needed = name if context is None else self._still_needed(entry, context, name)
        if needed:
            self._cut(entry, needed if context is None else f"it needs {needed}")
        elif self._due:
            self._cut(entry, self._due)
        if not needed and entry.task.module in LOCAL:
            self._given += names_set_by(entry.task)
        if entry.task.include is not None:
            note = f"'{title_of(entry.task)}' ({entry.task.position}): what it includes is known only then"
            self.plays[-1].notes.append(note)
        elif entry.task.module not in LOCAL:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        self._size += 1
        if entry.task.module in FACT_MODULES:
            self._facts_told = False

    def _still_needed(self, entry: Entry, context: TaskContext, name: str) -> str:
        """What a task waits for beside the results of batches that have ended; empty when that is nothing."""
        results, facts = self._state.results, self._state.facts
        results.values.update(dict.fromkeys(self._given, TOLD))
        told = [one for one, value in results.values.items() if value is TOLD]
        if not told and not self._facts_told:
            return name
        awaited, facts.awaited = facts.awaited, facts.awaited and not self._facts_told
        results.values.update(dict.fromkeys(told, _Anything()))
        context.on_board = self.on_board
        try:
            prepare_task(context, entry.task)
        except Pending as pending:
            return pending.name
        except Exception:
            return ""  # nobody can look further: at least what is named so far is there
        finally:
            results.values.update(dict.fromkeys(told, TOLD))
            facts.awaited = awaited
        return ""

    def flushes_handlers(self, entry: Entry) -> None:
        """Handlers may run here."""
        if self._notifies:
            self._due = "handlers that were notified run before it"
            self._notifies = False
            self.plays[-1].notes.append(f"handlers may run after {_after(self.plays[-1].play, entry)}")

    def _cut(self, entry: Entry, reason: str) -> None:
        self._due = ""
        if self._size:
            batches = self.plays[-1]
            batches.sizes.append(self._size)
            batches.breaks.append(Break(f"'{title_of(entry.task)}' ({entry.task.position})", reason))
            self._tell()
        self._size = 0
        self._on_board.clear()

    def _close(self) -> None:
        if self._size:
            self.plays[-1].sizes.append(self._size)
            self._tell()
        self._size, self._due = 0, ""
        self._on_board.clear()

    def _tell(self) -> None:
        """A batch has ended: what it gives is known from now on."""
        values = self._state.results.values
        values.update({name: TOLD for name, value in values.items() if value is AWAITED})
        self._facts_told = True


def _after(planned: PlayPlan, entry: Entry) -> str:
    before = [one for one in planned.entries if one.trail < entry.trail and one.task.module != "meta"]
    return f"'{title_of(before[-1].task)}'" if before else "the start"


def explanation(plans: Iterable[HostPlan]) -> list[str]:
    """What to print: hosts whose batches are alike together."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for plan in plans:
        lines = tuple(line for one in plan.foreseen for line in one.lines())
        alike.setdefault(lines, []).append(plan.host)
    shown: list[str] = []
    for lines, hosts in alike.items():
        shown += [_names(hosts), *(f"  {line}" for line in lines), ""]
    return shown[:-1]


def _names(hosts: Sequence[str]) -> str:
    shown = ", ".join(hosts[:8]) + (", ..." if len(hosts) > 8 else "")
    return f"{shown}:" if len(hosts) == 1 else f"{shown} ({len(hosts)} hosts alike):"
