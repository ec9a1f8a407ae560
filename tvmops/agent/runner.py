"""A batch: its tasks in order, each task's loop, what later tasks see of their results, and when to stop."""

import time

from . import attempts


def run_batch(batch, wire, services):
    """Run a batch's tasks and report each. Stops after a failed task, or when no more is to be begun."""
    stopped_at = None
    registered = {}
    for task in batch.get("tasks") or ():
        if wire.stopping:
            break
        check = bool(batch.get("check") or task.get("check"))
        diff = bool(batch.get("diff") or task.get("diff"))
        outcome = _run_as_its_user(TaskRun(task, check, diff, registered), wire, services)
        if task.get("register") is not None:
            registered[task["register"]] = _as_registered(task, outcome)
        if outcome.get("failed") and not task.get("ignore_errors"):
            stopped_at = task["id"]
            break
    services.recorder.sync()
    wire.emit("batch_end", id=batch.get("id"), stopped_at=stopped_at)


class TaskRun:
    """One task, run as the user that this process is. `registered`: the results of earlier tasks of its batch."""

    def __init__(self, task, check, diff, registered):
        self.task = task
        self.check = check
        self.diff = diff
        self._registered = registered
        attempts.prepare(task)

    def run(self, emit, services):
        """Run all items of the task's loop -> its result, which has been reported as `done`."""
        services.begin(self.task, emit)
        loop = self.task.get("loop")
        if loop is None:
            outcome = self._run_item(None, self.task, emit, services)
        else:
            outcome = loop_result(self._run_loop(loop, emit, services))
        emit("done", task=self.task["id"], result=outcome)
        return outcome

    def _run_loop(self, loop, emit, services):
        own, pause = self.task.get("register"), self.task.get("pause")
        results = []
        for index, item in enumerate(loop):
            if index and pause:
                time.sleep(pause)
            # Items that the controller has decided already are here because the whole result is looked at.
            known = item.get("result")
            results.append(self._run_item(index, item, emit, services) if known is None else known)
            if own is not None:
                # As in Ansible, the conditions of an item see the result of the one before it.
                last = attempts.as_sent(_with_variables(item, results[-1]))
                self._registered = dict(self._registered, **{own: last})
        return results

    def _run_item(self, index, item, emit, services):
        label = None if self.task.get("no_log") else item.get("label")
        emit("start", task=self.task["id"], item=index, label=label)
        outcome = attempts.Attempts(self.task, item, self.check, self.diff, self._registered).run(services)
        emit("result", task=self.task["id"], item=index, label=label, result=outcome)
        return outcome


def loop_result(results):
    """The result of a loop from those of its items."""
    if not results:
        skipped = {"skipped": True, "skip_reason": "No items in the list"}
        return dict(skipped, changed=False, failed=False, results=[])
    outcome = {
        "changed": any(one.get("changed") for one in results),
        "failed": any(one.get("failed") for one in results),
        "results": results,
        "msg": "All items completed",
    }
    if outcome["failed"]:
        outcome["msg"] = "One or more items failed"
    if all(one.get("skipped") for one in results):
        outcome.update(skipped=True, msg="All items skipped")
    return outcome


def _as_registered(task, outcome):
    """A result as the controller would know it under its registered name."""
    if task.get("loop") is None or "results" not in outcome:
        return attempts.as_sent(dict({"changed": False}, **outcome))
    results = [_with_variables(item, outcome["results"][index]) for index, item in enumerate(task["loop"])]
    failed = any(one.get("failed") for one in results)
    skipped = all(one.get("skipped") for one in results)
    whole = {"results": results, "changed": any(bool(one.get("changed")) for one in results), "skipped": skipped}
    whole["msg"] = "All items skipped" if skipped else "All items completed"
    if failed:
        whole.update(failed=True, msg="One or more items failed")
    return attempts.as_sent(whole)


def _with_variables(item, result):
    return dict(dict({"changed": False}, **result), **(item.get("variables") or {}))


def _run_as_its_user(run, wire, services):
    user = run.task.get("become_user")
    if user is None:
        return run.run(wire.emit, services)
    from . import become

    if become.is_current(user):
        return run.run(wire.emit, services)
    try:
        predicted = services.recorder.overlay if run.check else None
        outcome = become.run_as(become.identity(user, predicted), run, wire, services)
    except become.CannotBecome as error:
        return _refused(run.task, str(error), wire)
    if outcome is None:
        return _refused(run.task, "the process that ran the task as %s died" % user, wire)
    return outcome


def _refused(task, msg, wire):
    outcome = {"changed": False, "failed": True, "msg": msg}
    wire.emit("done", task=task["id"], result=outcome)
    return outcome
