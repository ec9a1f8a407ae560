"""Which hosts take part in which play: serial batches, and plays whose hosts are known only while the run goes on."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tvmops.errors import ConfigError
from tvmops.inventory.model import Host, Inventory
from tvmops.playbook.conduct import flag
from tvmops.playbook.faults import TemplateFault
from tvmops.playbook.including import foreseen
from tvmops.playbook.model import Play, Task
from tvmops.playbook.plan import Entry, PlayPlan, taken, title_of
from tvmops.playbook.state import RunOptions, Shared
from tvmops.playbook.tags import selected
from tvmops.playbook.values import Value, final
from tvmops.playbook.variables import Scope, Written
from tvmops.source import did_you_mean

CHANGING = frozenset(("add_host", "group_by"))
DEPTH = 20  # includes within includes that are looked into


@dataclass
class Stage:
    """Plays whose hosts are known before the first of them begins, with their numbers in the run."""

    plays: list[tuple[int, Play]] = field(default_factory=list)


def hosts_of_play(play: Play, inventory: Inventory, options: RunOptions) -> list[Host]:
    """A play's hosts within --limit, in the play's order. Raises ConfigError."""
    pattern = str(final(play.hosts, Scope([Written(options.extra_vars)]), play.hosts_at))
    try:
        hosts = inventory.select(pattern)
    except ConfigError as error:
        raise ConfigError(f"{play.hosts_at}: {error.message}", error.hint) from None
    if options.limit is not None:
        allowed = {host.name for host in inventory.select(options.limit)}
        hosts = [host for host in hosts if host.name in allowed]
    return ORDERS[play.order or "inventory"](hosts)


def _shuffled(hosts: list[Host]) -> list[Host]:
    return random.sample(hosts, len(hosts))


ORDERS: dict[str, Callable[[list[Host]], list[Host]]] = {
    "inventory": lambda hosts: hosts,
    "reverse_inventory": lambda hosts: hosts[::-1],
    "sorted": lambda hosts: sorted(hosts, key=lambda host: host.name),
    "reverse_sorted": lambda hosts: sorted(hosts, key=lambda host: host.name, reverse=True),
    "shuffle": _shuffled,
}


def stages(plays: Sequence[Play], inventory: Inventory, options: RunOptions) -> list[Stage]:
    """The plays in stages: a new one begins after a play that changes the inventory."""
    found = [Stage()]
    changes: bool | None = False
    for number, play in enumerate(plays):
        if found[-1].plays and (changes or (changes is None and not _matches(play, inventory, options))):
            found.append(Stage())
            changes = False
        found[-1].plays.append((number, play))
        verdict = _changes(play)
        changes = True if changes or verdict else None if verdict is None or changes is None else False
    return found


def _matches(play: Play, inventory: Inventory, options: RunOptions) -> bool:
    try:
        hosts_of_play(play, inventory, options)
    except ConfigError:
        return False
    return True


def _changes(play: Play) -> bool | None:
    """Whether a play adds hosts or groups; None when that depends on includes that cannot be foreseen."""
    verdicts = [_task_changes(task, play, 0) for task in (*play.tasks, *play.handlers)]
    return True if any(verdicts) else None if None in verdicts else False


def _task_changes(task: Task, play: Play, depth: int) -> bool | None:
    if task.module in CHANGING:
        return True
    if task.module == "meta":
        return task.args.constant and task.args.loose({}).get("_raw_params") == "refresh_inventory"
    if task.include is None:
        return False
    children = foreseen(Entry(task, play.loader)) if depth < DEPTH else None
    if children is None:
        return None
    verdicts = [_task_changes(child, play, depth + 1) for child in children]
    return True if any(verdicts) else None if None in verdicts else False


def assign(stage: Stage, shared: Shared, *, later: bool) -> dict[str, list[PlayPlan]]:
    """Each host's plays of a stage, still to be planned. `later`: after the first, where patterns may match nothing.

    Raises ConfigError.
    """
    found: dict[str, list[PlayPlan]] = {}
    for number, play in stage.plays:
        try:
            hosts = [host.name for host in hosts_of_play(play, shared.inventory, shared.options)]
        except ConfigError:
            if not later:
                raise
            hosts = []
        batches = taken(hosts, _sizes(play, shared, len(hosts)))
        shared.together.add_play(number, batches, gate=len(batches) > 1 or _may_end_all(play, shared))
        for index, batch in enumerate(batches):
            for host in batch:
                found.setdefault(host, []).append(PlayPlan(play, hosts, number, index, batch))
    return found


def first_task(plays: Sequence[Play], options: RunOptions) -> tuple[int, int]:
    """(number of the play, number of the task in it) that --start-at-task names. Raises ConfigError."""
    wanted = str(options.start_at)
    titles: list[str] = []
    for number, play in enumerate(plays):
        for order, task in enumerate(play.tasks, 1):
            if task.module == "meta" or not selected(task.tags, options.tags, options.skip_tags):
                continue
            own = title_of(task)
            for title in (own, task.full_title(own)):
                if title == wanted or fnmatch.fnmatch(title, wanted):
                    return number, order
            titles.append(own)
    hint = did_you_mean(wanted, titles)
    hint = hint if hint.startswith("did") else "tasks that include_tasks and include_role bring in cannot be named"
    raise ConfigError(f"--start-at-task '{wanted}': no task has this name", hint)


def _scope(play: Play, shared: Shared) -> Scope:
    return Scope([shared.extra, play.vars, Written(shared.inventory.groups["all"].variables.values)])


def _sizes(play: Play, shared: Shared, hosts: int) -> list[int]:
    """How many hosts go through the play at a time, one number after the other."""
    scope = _scope(play, shared)
    return [_size(value, scope, play, hosts) for value in play.serial]


def _size(value: Value, scope: Scope, play: Play, hosts: int) -> int:
    given = final(value, scope)
    text = str(given).strip()
    try:
        if text.endswith("%"):
            return max(1, int(float(text[:-1]) / 100.0 * hosts))
        return int(text)
    except ValueError:
        position = getattr(value, "position", play.position)
        raise TemplateFault(position, f"'serial' wants numbers or percentages, not {given!r}") from None


def _may_end_all(play: Play, shared: Shared) -> bool:
    if play.max_fail_percentage is not None or any(task.any_errors_fatal is not None for task in play.tasks):
        return True
    return flag(play.any_errors_fatal, _scope(play, shared))
