"""Results in Ansible's shape: loops combined from their items, verdicts of changed_when and failed_when applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvmops.playbook.faults import TemplateFault
from tvmops.playbook.prepare import Prepared, Step, TaskContext, loop_variables
from tvmops.playbook.values import all_hold


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
    if failed:
        combined.update(failed=True, msg="One or more items failed")
    return combined


def of_item(step: Step, result: dict[str, Any]) -> dict[str, Any]:
    """An item's result with the item in it."""
    return {"changed": False, **result, **loop_variables(step.item)}


def judge(
    context: TaskContext, prepared: Prepared, step: Step, result: dict[str, Any], known_only: bool = False
) -> dict[str, Any]:
    """Apply changed_when and failed_when to one result. `known_only`: constant verdicts, for results made here."""
    if result.get("skipped"):
        return result
    judged = {"failed": bool(result.get("failed", False)), **result}
    if prepared.changed_when is not None:
        judged["changed"] = prepared.changed_when
    if prepared.failed_when is not None:
        judged["failed"] = judged["failed_when_result"] = prepared.failed_when
    if known_only or not (prepared.decides_changed or prepared.decides_failed):
        return judged
    verdict = _asker(context, prepared, step, judged)
    try:
        if prepared.decides_changed:
            judged["changed"] = verdict(prepared.task.changed_when)
        if prepared.decides_failed:
            judged["failed"] = judged["failed_when_result"] = verdict(prepared.task.failed_when)
    except TemplateFault as fault:
        judged.update(failed=True, msg=fault.message, hint=fault.hint)
    return judged


def _asker(context: TaskContext, prepared: Prepared, step: Step, judged: dict[str, Any]) -> Callable[[Any], bool]:
    item = loop_variables(step.item) if prepared.looped else {}
    name = prepared.task.register

    def ask(conditions: Any) -> bool:
        learned = {} if name is None else {name: judged}
        return all_hold(conditions, context.scope(prepared.task, item, learned)) is None

    return ask
