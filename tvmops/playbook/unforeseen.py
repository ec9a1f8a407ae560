"""What a check run cannot know, because it comes from what only a real run does: it is said, not guessed."""

from __future__ import annotations

from typing import Any

from tvmops.playbook.conduct import checked
from tvmops.playbook.faults import TemplateFault
from tvmops.playbook.model import Task
from tvmops.playbook.state import HostState
from tvmops.playbook.undefined import OMIT
from tvmops.playbook.values import final
from tvmops.playbook.variables import Scope


def guessed(state: HostState, task: Task, scope: Scope) -> dict[str, Any] | None:
    """The result, in a check run, of a task that has just looked up what only a real run will tell; else None."""
    names = state.results.guesses
    if not names or not checked(task, scope, state):
        return None
    reason = f"it needs {', '.join(sorted(names))}, which only a real run can tell"
    return {"changed": True, "unknown": True, "msg": reason}


def arguments(state: HostState, task: Task, scope: Scope) -> tuple[Any, dict[str, Any] | None]:
    """(the task's arguments, the result of a task that a check run cannot carry out for want of them)."""
    known = state.results
    known.guesses.clear()
    try:
        args = final(task.args, scope)
    except TemplateFault:
        if not guessed(state, task, scope):
            raise
        args = {}
    if not task.args.constant and isinstance(args, dict):
        args = {key: value for key, value in args.items() if value is not OMIT}
    unknown = guessed(state, task, scope)
    if task.module == "set_fact":
        known.unforeseen.difference_update(args)
        known.unforeseen.update(args if unknown else ())
        return args, None
    return args, unknown if task.module != "debug" else None
