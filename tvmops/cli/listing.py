"""What --list-tasks and --list-tags print: a playbook's plays as they are written, without touching a host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tvmops.playbook.model import Play, Task
from tvmops.playbook.plan import title_of
from tvmops.playbook.state import RunOptions
from tvmops.playbook.tags import selected


def listing(path: Path, plays: Sequence[Play], options: RunOptions, *, tasks: bool, tags: bool) -> list[str]:
    """Ansible's form: each play with its tasks and their tags, or with all tags of its tasks."""
    lines = ["", f"playbook: {path}"]
    for number, play in enumerate(plays, 1):
        hosts = str(play.hosts.loose({})) if play.hosts.constant else str(getattr(play.hosts, "text", ""))
        own = play.inherited.tags
        lines += ["", f"  play #{number} ({hosts}): {play.name or hosts}\tTAGS: [{', '.join(sorted(own))}]"]
        chosen = [one for one in play.tasks if _shown(one, options)]
        if tasks:
            lines.append("    tasks:")
            lines += [f"      {_title(one)}\tTAGS: [{', '.join(sorted(one.tags))}]" for one in chosen]
        if tags:
            found = own.union(*(one.tags for one in chosen))
            lines.append(f"      TASK TAGS: [{', '.join(sorted(found))}]")
    return [*lines, ""]


def _shown(task: Task, options: RunOptions) -> bool:
    return not (task.module == "meta" and task.implicit) and selected(task.tags, options.tags, options.skip_tags)


def _title(task: Task) -> str:
    return task.full_title(title_of(task)) if task.named else task.module
