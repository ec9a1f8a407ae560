"""Blocks: their tasks follow each other in one list, each with the parts of blocks that it is in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tvmops.playbook.fields import Fields
from tvmops.playbook.keywords import BLOCK_KEYWORDS, TASK_KEYWORDS
from tvmops.playbook.model import Inherited, Section, Task
from tvmops.playbook.passing_on import with_variables
from tvmops.source import Map

if TYPE_CHECKING:
    from pathlib import Path

    from tvmops.playbook.load import Loader

PARTS = {"block": "tasks", "rescue": "rescue", "always": "always"}


def load_block(loader: Loader, data: Map, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    """The tasks of `block`, then of `rescue`, then of `always`; what the block says goes to each of them."""
    from tvmops.playbook.load_task import load_tasks

    fields = Fields(data, loader.problems)
    if inherited.handlers and not _may_hold_handlers(loader, data, inherited):
        return ()
    for key in [key for key in data if key in TASK_KEYWORDS - BLOCK_KEYWORDS]:
        loader.problems.add(data.keys_at[key], f"'{key}' cannot go with a block", "put it on the block's tasks")
    fields.text("name")
    fields.refuse_unknown(BLOCK_KEYWORDS | TASK_KEYWORDS, "block")
    inner = with_variables(fields, inherited)
    number = loader.next_id()
    tasks: list[Task] = []
    for key, kind in PARTS.items():
        section = Section(number, kind, bool(data.get("rescue")), bool(data.get("always")))
        part = replace(inner, path=(*inner.path, section))
        tasks.extend(load_tasks(loader, data.get(key), data.at(key), folder, part))
    return tuple(tasks)


def _may_hold_handlers(loader: Loader, data: Map, inherited: Inherited) -> bool:
    """Handlers may stand in one block, which does no more than pass on what it says."""
    if inherited.path:
        at = data.keys_at["block"]
        loader.problems.add(at, "a block of handlers cannot hold blocks", "take them out of the block")
        return False
    for key in ("rescue", "always"):
        if key in data:
            loader.problems.add(data.keys_at[key], f"a block of handlers has no '{key}'", "use it in a block of tasks")
    return True
