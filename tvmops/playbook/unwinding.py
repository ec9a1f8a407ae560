"""What becomes of a host's entries when one of them fails: to the block's rescue, to its always, or to the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from tvmops.playbook.model import Section
from tvmops.playbook.plan import Entry

Path = tuple[Section, ...]


class Unwinding:
    """The blocks of a play that have failed. `dropped` is told of every entry that will not run."""

    def __init__(self, entries: deque[Entry], dropped: Callable[[Entry], None]) -> None:
        self._entries = entries
        # The part of a block where the last failure went on.
        self.position: Path = ()
        self._dropped = dropped
        # Blocks whose rescue runs or has run.
        self._rescuing: set[int] = set()
        # Blocks whose always runs with a failure behind it, and the path of what failed.
        self._pending: dict[int, Path] = {}

    def admits(self, entry: Entry) -> bool:
        """False for tasks of a rescue whose block has not failed."""
        return all(section.kind != "rescue" or section.block in self._rescuing for section in entry.path)

    def rescues(self, path: Path, waiting: list[Entry]) -> bool:
        """True when a failure here is one that some block has a rescue for; `waiting` are queued before the entries."""
        blocks = {section.block for section in path if section.kind == "tasks" and section.rescue}
        return bool(blocks) and any(
            section.kind == "rescue" and section.block in blocks
            for entry in (*waiting, *self._entries)
            for section in entry.path
        )

    def fail(self, path: Path) -> bool:
        """Go on where a failure at `path` is dealt with; False when nothing deals with it."""
        for index in range(len(path) - 1, -1, -1):
            section = path[index]
            self._pending.pop(section.block, None)
            if section.kind == "tasks" and self._skip_to(section.block, "rescue"):
                self._rescuing.add(section.block)
                self.position = (*path[:index], replace(section, kind="rescue"))
                return True
            if section.kind != "always" and self._skip_to(section.block, "always"):
                self._pending[section.block] = path[:index]
                self.position = (*path[:index], replace(section, kind="always"))
                return True
        return False

    def forget(self) -> None:
        """Failures that are still to be passed on are passed on no more."""
        self._pending.clear()

    def is_overdue(self, entry: Entry) -> bool:
        """True when a failure has to go on before `entry`: the always that it waited for is over."""
        inside = {section.block for section in entry.path if section.kind == "always"}
        return any(block not in inside for block in self._pending)

    def overdue(self, entry: Entry | None) -> Path | None:
        """Where a failure goes on whose always is over when `entry` comes next; None when there is none."""
        inside = {section.block for section in entry.path if section.kind == "always"} if entry else set()
        for block in reversed(list(self._pending)):
            if block not in inside:
                return self._pending.pop(block)
        return None

    def _skip_to(self, block: int, kind: str) -> bool:
        def matches(entry: Entry) -> bool:
            return any(section.block == block and section.kind == kind for section in entry.path)

        if not any(matches(entry) for entry in self._entries):
            return False
        while not matches(self._entries[0]):
            self._dropped(self._entries.popleft())
        return True
