"""What one host still has to do in a play, in order, and how that changes when a task fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tvmops.playbook.batch import Queued
from tvmops.playbook.plan import Entry, counts
from tvmops.playbook.progress import END
from tvmops.playbook.report import Report
from tvmops.playbook.unwinding import Unwinding


class Agenda:
    """A play's entries that have not been taken yet, the one that is being taken, and those that were passed by."""

    def __init__(self, entries: Iterable[Entry], report: Report) -> None:
        self.entries: deque[Entry] = deque(entries)
        self.unwinding = Unwinding(self.entries, self.drop)
        self.current: Entry | None = None
        # Tasks of a rescue that were passed by while it was not known yet whether their block would fail.
        self.passed: list[Entry] = []
        self._report = report

    def __bool__(self) -> bool:
        return bool(self.entries)

    def next(self) -> Entry:
        """Take the first entry away."""
        return self.entries.popleft()

    def put_first(self, entries: list[Entry]) -> None:
        """Entries that come before all others, in order."""
        self.entries.extendleft(reversed(entries))

    def drop(self, entry: Entry) -> None:
        """An entry that will not run."""
        if counts(entry) and not entry.candidate:
            self._report.total -= 1

    def clear(self) -> None:
        """None of the entries will run."""
        while self.entries:
            self.drop(self.entries.popleft())

    def waiting_with(self, left: list[Queued]) -> list[Entry]:
        """What comes before the entries: what is queued, what is being taken, and what was passed by."""
        current = [self.current] if self.current is not None else []
        return [*(one.entry for one in left), *current, *self.passed]

    def put_back(self, left: list[Queued], failed: Queued | None) -> tuple[list[Entry], list[Entry]]:
        """What was queued after `failed` goes back -> (entries that were queued, entries that were passed by)."""
        entries = list(dict.fromkeys(one.entry for one in left))
        current, self.current = self.current, None
        if current is not None and current not in entries and (failed is None or current is not failed.entry):
            entries.append(current)
        first = failed.entry.trail if failed else entries[0].trail if entries else END
        passed, self.passed = [one for one in self.passed if one.trail > first], []
        back = self._without_included([*entries, *passed])
        self.put_first(sorted(back, key=lambda entry: entry.trail))
        return entries, passed

    def _without_included(self, back: list[Entry]) -> list[Entry]:
        """What goes back, without what its includes brought in: that is found out anew."""
        anew = [one for one in back if one.task.include is not None and one.prepared is None]
        for one in [one for one in (*back, *self.entries) if any(one.comes_from(other) for other in anew)]:
            self.drop(one)
            if one in back:
                back.remove(one)
            else:
                self.entries.remove(one)
        return back
