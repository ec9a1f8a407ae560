"""Results in Ansible's shape: loops combined from their items, verdicts of changed_when and failed_when applied."""

from __future__ import annotations

from typing import Any

from tvmops.playbook.faults import TemplateFault
from tvmops.playbook.prepare import TaskContext
from tvmops.playbook.prepared import Prepared, Step
from tvmops.playbook.values import Condition, all_hold
from tvmops.playbook.variables import UNFORESEEN


def combine(prepared: Prepared, results: list[dict[str, Any]]) -> dict[str, Any]:
    """One result for the task: the only step's own, or a loop's with `results`."""
    if not prepared.looped:
        return {"changed": False, **results[0]}
    if not results:
        return {"changed": False, "skipped": True, "skipped_reason": "No items in the list", "results": []}
    failed = any(one.get("failed") for one in results)
    everything_skipped = all(one.get("skipped") for one in results)
    combined: dict[str, Any] = {
        "results": results,
        "changed": any(bool(one.get("changed")) for one in results),
        "skipped": everything_skipped,
        "msg": "All items skipped" if everything_skipped else "All items completed",
    }
    combined.update((key, True) for key in UNFORESEEN if any(one.get(key) for one in results))
    if failed:
        combined.update(failed=True, msg="One or more items failed")
    return combined


def of_item(step: Step, result: dict[str, Any]) -> dict[str, Any]:
    """An item's result with the item in it."""
    return {"changed": False, **result, **step.variables}


def judge(
    context: TaskContext, prepared: Prepared, step: Step, result: dict[str, Any], attempt: int | None = None
) -> dict[str, Any]:
    """Apply changed_when and failed_when to one result. `attempt`: its number, where there may be several."""
    if result.get("skipped") or result.get("unreachable"):
        return result
    if (prepared.judged_on_board and step.args is not None) or "timedout" in result:
        return {"failed": False, **result}
    judged = {"failed": bool(result.get("failed", False)), **result}
    if attempt is not None:
        judged["attempts"] = attempt
    if prepared.changed_when is not None:
        judged["changed"] = prepared.changed_when
    if prepared.failed_when is not None:
        judged["failed"] = judged["failed_when_result"] = prepared.failed_when
    if not (prepared.decides_changed or prepared.decides_failed):
        return judged
    try:
        if prepared.decides_changed:
            judged["changed"] = holds(context, prepared, step, judged, prepared.task.changed_when or ())
        if prepared.decides_failed:
            verdict = holds(context, prepared, step, judged, prepared.task.failed_when or ())
            judged["failed"] = judged["failed_when_result"] = verdict
    except TemplateFault as fault:
        judged.update(failed=True, msg=fault.message, hint=fault.hint)
    return judged


def holds(
    context: TaskContext, prepared: Prepared, step: Step, result: dict[str, Any], conditions: tuple[Condition, ...]
) -> bool:
    """True when all conditions hold for a task that has this result. Raises TemplateFault, Pending."""
    name = prepared.task.register
    learned = {} if name is None else {name: result}
    return all_hold(conditions, context.scope(prepared.task, step.variables, learned)) is None
