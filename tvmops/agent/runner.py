"""A batch: its tasks in order, each task's loop, and when to stop."""

from .perform import perform


def run_batch(batch, wire, services):
    """Run a batch's tasks and report each. Stops after a failed task, and when the controller wants no more of it."""
    stopped_at = None
    services.offer(batch.get("blobs") or {})
    for task in batch.get("tasks") or ():
        if wire.stopping:
            break
        check = bool(batch.get("check") or task.get("check"))
        diff = bool(batch.get("diff") or task.get("diff"))
        outcome = _run_as_its_user(TaskRun(task, check, diff), wire, services)
        if outcome["failed"] and not task.get("ignore_errors"):
            stopped_at = task["id"]
            break
    wire.emit("batch_end", id=batch.get("id"), stopped_at=stopped_at)


class TaskRun:
    """One task, run as the user that this process is."""

    def __init__(self, task, check, diff):
        self.task = task
        self.check = check
        self.diff = diff

    def run(self, emit, services):
        """Run all items of the task's loop -> its result, which has been reported as `done`."""
        services.begin(self.task, emit)
        loop = self.task.get("loop")
        if loop is None:
            outcome = self._run_item(None, self.task, emit, services)
        else:
            outcome = loop_result([self._run_item(index, item, emit, services) for index, item in enumerate(loop)])
        emit("done", task=self.task["id"], result=outcome)
        return outcome

    def _run_item(self, index, item, emit, services):
        label = None if self.task.get("no_log") else item.get("label")
        emit("start", task=self.task["id"], item=index, label=label)
        outcome = perform(self.task, item.get("args") or {}, self.check, self.diff, services)
        emit("result", task=self.task["id"], item=index, label=label, result=outcome)
        return outcome


def loop_result(results):
    """The result of a loop from those of its items."""
    if not results:
        skipped = {"skipped": True, "skip_reason": "No items in the list"}
        return dict(skipped, changed=False, failed=False, results=[])
    outcome = {
        "changed": any(one["changed"] for one in results),
        "failed": any(one["failed"] for one in results),
        "results": results,
        "msg": "All items completed",
    }
    if outcome["failed"]:
        outcome["msg"] = "One or more items failed"
    if all(one.get("skipped") for one in results):
        outcome.update(skipped=True, msg="All items skipped")
    return outcome


def _run_as_its_user(run, wire, services):
    user = run.task.get("become_user")
    if user is None:
        return run.run(wire.emit, services)
    from . import become

    if become.is_current(user):
        return run.run(wire.emit, services)
    try:
        outcome = become.run_as(become.identity(user), run, wire, services)
    except become.CannotBecome as error:
        return _refused(run.task, str(error), wire)
    if outcome is None:
        return _refused(run.task, "the process that ran the task as %s died" % user, wire)
    return outcome


def _refused(task, msg, wire):
    outcome = {"changed": False, "failed": True, "msg": msg}
    wire.emit("done", task=task["id"], result=outcome)
    return outcome
