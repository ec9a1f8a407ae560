"""A play's handlers on one host: which are notified, and by which of their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tvmops.playbook.handler_names import by_precedence, names_of
from tvmops.playbook.model import Task
from tvmops.playbook.progress import Place
from tvmops.source import did_you_mean


class Handlers:
    """`title` works a handler's name out, as far as it can be. Of handlers with one name the last is meant."""

    def __init__(self, tasks: Sequence[Task], title: Callable[[Task], str]) -> None:
        self.tasks = list(tasks)
        self._title = title
        self._names: list[str] = []
        self._notified: set[int] = set()
        self._turns: dict[int, Place] = {}

    def extend(self, tasks: Iterable[Task]) -> None:
        """Handlers that an included role brings; those that are known already are left out."""
        known = {task.id for task in self.tasks}
        self.tasks.extend(task for task in tasks if task.id not in known)

    def __bool__(self) -> bool:
        """True when something is notified."""
        return bool(self._names or self._notified)

    def notify(self, names: Sequence[str], *, running: bool, place: Place = ()) -> str:
        """Remember names for the next flush, or at once while handlers are `running`; a complaint for unknown ones.

        `place`: where the notifying task stands. Handlers that had their turn after it are as if notified before that.
        """
        for name in names:
            found = self.matching(name)
            if not found:
                known = [self._title(task) for task in self.tasks]
                return f"there is no handler '{name}' in this play; {did_you_mean(name, known)}".rstrip("; ")
            if running:
                self._notified.update(task.id for task in found if self._turns.get(task.id, ()) <= place)
            elif name not in self._names:
                self._names.append(name)
        return ""

    def flush(self) -> None:
        """Find out which handlers the names so far mean."""
        names, self._names = self._names, []
        for name in names:
            self._notified.update(task.id for task in self.matching(name))

    def notified(self, task: Task) -> bool:
        """Whether a handler is to run."""
        return task.id in self._notified

    def done(self, task: Task, place: Place) -> None:
        """It runs now, in this place."""
        self._notified.discard(task.id)
        self._turns[task.id] = place

    def back(self, task: Task) -> None:
        """It has not run after all."""
        self._notified.add(task.id)

    def matching(self, name: str) -> list[Task]:
        """The handlers that a notification means: the one of that name, and all that listen to it."""
        found: list[Task] = []
        ordered = by_precedence(self.tasks)
        for task in ordered:
            if name in names_of(task, self._title(task)):
                found.append(task)
                break
        seen: set[str] = set()
        for task in ordered:
            if name not in task.listen:
                continue
            title = self._title(task) if task.named else ""
            if title not in seen and task not in found:
                found.append(task)
            if title:
                seen.add(title)
        return found
