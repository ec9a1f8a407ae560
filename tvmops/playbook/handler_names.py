"""Which handlers a notified name means."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from tvmops.playbook.model import Task


def by_precedence(handlers: Iterable[Task]) -> list[Task]:
    """Handlers in the order in which Ansible looks for a name: later lists first, but each from its beginning.

    The first with a notified name runs; of those that listen to it each does, but only one of any name.
    """
    groups = [list(group) for _, group in itertools.groupby(handlers, key=lambda handler: handler.group)]
    return [handler for group in reversed(groups) for handler in group]


def names_of(handler: Task, title: str) -> tuple[str, ...]:
    """The names by which a handler with this title is notified; `listen` comes on top of them."""
    return tuple(dict.fromkeys((title, handler.full_title(title)))) if handler.named else ()


def known_names(handlers: Sequence[Task]) -> list[str]:
    """Every name that can be notified, as far as these are known without a host."""
    names: dict[str, None] = {}
    for handler in handlers:
        names.update(dict.fromkeys(handler.listen))
        if handler.title.constant:
            names.update(dict.fromkeys(names_of(handler, str(handler.title.loose({})))))
    return list(names)
