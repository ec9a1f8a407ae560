"""meta: tasks that steer the run itself. They are neither shown nor counted, as in Ansible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tvmops.errors import ConfigError
from tvmops.inventory import changes
from tvmops.playbook.batch import Queued
from tvmops.playbook.plan import Entry
from tvmops.playbook.values import all_hold

if TYPE_CHECKING:
    from tvmops.playbook.play_run import PlayRun


def carry_out(run: PlayRun, entry: Entry) -> None:
    """Do what a meta task says, if its condition holds. Raises as PlayRun.enqueue."""
    try:
        action = str(run.settled(entry, lambda: _action(run, entry)))
        if action in FOR_ALL and not run.company.free:
            _for_all(run, entry, FOR_ALL[action])
            return
        if not run.settled(entry, lambda: _holds(run, entry)):
            return
        ACTIONS[action](run, entry)
    except ConfigError as fault:
        run.queue.add(Queued(entry, run.faulty(entry, fault), run.context(entry)))


def _action(run: PlayRun, entry: Entry) -> str:
    from tvmops.playbook.values import final

    return str(final(entry.task.args, run.scope(entry)).get("_raw_params", "")).strip()


def _holds(run: PlayRun, entry: Entry) -> bool:
    return all_hold(entry.task.when, run.scope(entry)) is None


def _for_all(run: PlayRun, entry: Entry, action: Callable[[PlayRun, Entry], None]) -> None:
    """The first host that comes decides for all."""
    run.queue.flush("the other hosts")
    meeting, first = run.company.meet(entry)
    if not first:
        outcome = run.company.outcome(meeting)
        if outcome and outcome.get("holds") and action not in (_refresh_inventory, _clear_host_errors):
            action(run, entry)
        return
    try:
        if run.settled(entry, lambda: _holds(run, entry)):
            meeting.outcome = {"holds": True}
            action(run, entry)
    finally:
        meeting.done.set()


def _flush_handlers(run: PlayRun, entry: Entry) -> None:
    if run.may_notify():
        run.queue.flush("handlers")
        run.flush_handlers(entry)


def _end_host(run: PlayRun, entry: Entry) -> None:  # noqa: ARG001
    run.queue.flush("the end of the play")
    run.end_play()


def _end_batch(run: PlayRun, entry: Entry) -> None:  # noqa: ARG001
    run.company.tell("end", "the batch was ended")
    run.end_play()


def _end_play(run: PlayRun, entry: Entry) -> None:
    run.company.end_play()
    _end_batch(run, entry)


def _end_role(run: PlayRun, entry: Entry) -> None:
    role = entry.task.role
    run.queue.flush("the end of the role")
    agenda = run.agenda
    while agenda:
        following = agenda.entries[0].task
        inside = following.role is role or (following.role is not None and role in following.role.parents)
        if not inside or (following.module == "meta" and following.implicit):
            return
        agenda.drop(agenda.next())


def _clear_facts(run: PlayRun, entry: Entry) -> None:  # noqa: ARG001
    run.queue.flush("clear_facts")
    run.state.facts.values.clear()
    run.state.facts.learn({})


def _reset_connection(run: PlayRun, entry: Entry) -> None:  # noqa: ARG001
    run.queue.flush("reset_connection")
    run.queue.channels.reset()


def _role_complete(run: PlayRun, entry: Entry) -> None:
    run.role_complete(entry)


def _clear_host_errors(run: PlayRun, entry: Entry) -> None:  # noqa: ARG001
    run.company.forgive()


def _refresh_inventory(run: PlayRun, entry: Entry) -> None:  # noqa: ARG001
    shared = run.state.shared
    with shared.changing:
        changes.reload(shared.inventory)
        shared.inventory_changed()


def _nothing(run: PlayRun, entry: Entry) -> None:
    """noop."""


ACTIONS: dict[str, Callable[[PlayRun, Entry], None]] = {
    "flush_handlers": _flush_handlers,
    "end_host": _end_host,
    "end_role": _end_role,
    "clear_facts": _clear_facts,
    "reset_connection": _reset_connection,
    "role_complete": _role_complete,
    "noop": _nothing,
}
FOR_ALL: dict[str, Callable[[PlayRun, Entry], None]] = {
    "clear_host_errors": _clear_host_errors,
    "end_batch": _end_batch,
    "end_play": _end_play,
    "refresh_inventory": _refresh_inventory,
}
ACTIONS.update(FOR_ALL)
