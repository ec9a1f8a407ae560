"""Tasks on their way to the board and back: the queue's entries, and the message for a batch."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tvmops.playbook.plan import Entry, local_result
from tvmops.playbook.prepare import TaskContext
from tvmops.playbook.prepared import Prepared, Step, unchanged_by_json
from tvmops.playbook.residual_names import names_in
from tvmops.playbook.results import combine, judge, of_item
from tvmops.playbook.state import Shared


class Queued:
    """A prepared task waiting for its turn or for the board's result."""

    def __init__(self, entry: Entry, prepared: Prepared, context: TaskContext) -> None:
        self.entry = entry
        self.prepared = prepared
        self.context = context
        self.number = 0
        self.remote = prepared.remote
        self.started = False
        self.items_shown = 0
        self.board_result: dict[str, Any] | None = None
        # Takes back what counting on its success has already set; see TaskQueue.
        self.undo: list[Callable[[], None]] = []
        self._whole: dict[str, Any] | None = None
        self._settled: list[dict[str, Any]] = []

    @property
    def ready(self) -> bool:
        """True when its result is known."""
        return not self.remote or self.board_result is not None or self._whole is not None

    def settle(self, result: dict[str, Any]) -> None:
        """Give the whole result; nothing is added to it any more."""
        self._whole = result

    def local_result(self) -> dict[str, Any]:
        """The result when the board has no part in it."""
        if self._whole is None:
            self._whole = local_result(self.context, self.prepared)
        return self._whole

    def item_result(self, result: dict[str, Any]) -> None:
        """The next item's result came in; items around it that need no board are settled with it."""
        steps = self.prepared.steps
        answered = False
        while len(self._settled) < len(steps):
            step = steps[len(self._settled)]
            if step.args is not None and answered:
                break
            one = result if step.args is not None else step.result or {}
            answered = answered or step.args is not None
            self._settled.append(of_item(step, self._judged(step, dict(one))))

    def items_so_far(self) -> list[dict[str, Any]]:
        """The results of the items that are done, from the first on, those known beforehand among them."""
        return self._settled

    def item_settled(self, result: dict[str, Any]) -> None:
        """The next item's result as it stands."""
        self._settled.append(result)

    def final_result(self) -> dict[str, Any]:
        """The whole result, with the verdicts of changed_when and failed_when."""
        if self._whole is not None or not self.remote:
            return self.local_result()
        board = self.board_result or {}
        if not self.prepared.looped:
            return combine(self.prepared, [self._judged(self.prepared.steps[0], board)])
        # Without an answer for every item the board could not even begin: its own result says why.
        return combine(self.prepared, self._settled) if len(self._settled) == len(self.prepared.steps) else board

    def known_item(self, step: Step) -> dict[str, Any]:
        """The result of an item that needs no board."""
        return self._judged(step, dict(step.result or {}))

    def known_on_board(self) -> bool:
        """True when the board can know the task's result as it will be known here."""
        if not self.prepared.judged_on_board:
            return False
        return not self.prepared.looped or all(unchanged_by_json(step.variables) for step in self.prepared.steps)

    def read_whole(self) -> frozenset[str]:
        """The results that the board reads for this task: of others, and of its own loop's last item."""
        own = self.prepared.task.register
        if any(own in names_in(step.when) for step in self.prepared.steps if step.when):
            return self.prepared.reads
        return self.prepared.reads - {own}

    def _judged(self, step: Step, result: dict[str, Any]) -> dict[str, Any]:
        return judge(self.context, self.prepared, step, result)


def _decided_there(step: Step) -> dict[str, Any]:
    """What the agent gets of a step: arguments, and what it decides itself."""
    decided: dict[str, Any] = {"args": step.args, **step.verdicts}
    if step.when:
        decided["when"] = step.when
    if step.settled is not None:
        decided["settled"] = step.settled
    return decided


class Batch:
    """The message for the agent. `login_user` is given when the agent runs as root."""

    def __init__(self, number: int, queue: list[Queued], shared: Shared, login_user: Callable[[], str] | None) -> None:
        self._shared = shared
        self._login_user = login_user
        self._inline: dict[str, str] = {}
        tasks = []
        remote = [one for one in queue if one.remote]
        self._read = frozenset[str]().union(*(one.read_whole() for one in remote))
        for index, queued in enumerate(remote, 1):
            queued.number = number * 100_000 + index
            tasks.append(self._task(queued))
        self.message = self._message(number, tasks)

    @classmethod
    def of_step(  # noqa: PLR0917
        cls,
        number: int,
        queued: Queued,
        module: str,
        args: dict[str, Any],
        shared: Shared,
        login_user: Callable[[], str] | None,
    ) -> Batch:
        """A batch for one item of a task that goes step by step; `module` may be another than the task's."""
        batch = cls(number, [], shared, login_user)
        queued.number = number * 100_000 + 1
        batch._add_inline(args)
        task = {**batch._common(queued), "module": module, "args": args, "loop": None}
        # What the result comes to is decided here; an answer to the controller's own question is never shown.
        task.update(ignore_errors=True, changed_when=None, failed_when=None)
        if module != queued.prepared.task.module:
            task["no_log"] = False
        batch.message = batch._message(number, [task])
        return batch

    def _message(self, number: int, tasks: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "op": "batch", "id": number, "check": bool(tasks) and all(task["check"] for task in tasks),
            "diff": bool(tasks) and all(task["diff"] for task in tasks), "tasks": tasks, "blobs": self._inline,
        }  # fmt: skip

    def _task(self, queued: Queued) -> dict[str, Any]:
        prepared, own = queued.prepared, queued.prepared.task.register
        steps = [step for step in prepared.steps if step.args is not None]
        for step in steps:
            self._add_inline(step.args or {})
        task = self._common(queued)
        if prepared.judged_on_board:
            task.update(retries=prepared.conduct.retries, delay=prepared.conduct.delay)
        if own in self._read or own in prepared.reads:
            task["register"] = own
        if prepared.looped:
            return {**task, "args": {}, "loop": self._loop(queued, steps, whole=own in self._read)}
        return {**task, "loop": None, **_decided_there(steps[0])}

    def _loop(self, queued: Queued, steps: list[Step], *, whole: bool) -> list[dict[str, Any]]:
        """The items. `whole`: the board reads the loop's result, those that are known already included."""
        if not whole:
            return [{**_decided_there(step), "label": step.label} for step in steps]
        return [
            {"result": queued.known_item(step), "variables": step.variables}
            if step.args is None
            else {**_decided_there(step), "label": step.label, "variables": step.variables}
            for step in queued.prepared.steps
        ]

    def _common(self, queued: Queued) -> dict[str, Any]:
        prepared, conduct, task = queued.prepared, queued.prepared.conduct, queued.prepared.task
        return {
            "id": queued.number,
            "module": task.module,
            # For those who look at the board or at what a lost run left there.
            "name": prepared.title,
            "at": str(task.position),
            "secret": prepared.no_log,
            "become_user": self._become_user(prepared),
            "environment": conduct.environment,
            "check": conduct.check,
            "diff": conduct.diff,
            # A registered result is needed here whole; what is shown of it is censored here.
            "no_log": prepared.no_log and task.register is None,
            "ignore_errors": prepared.ignore_errors,
            "changed_when": prepared.changed_when,
            "failed_when": prepared.failed_when,
            "timeout": conduct.timeout,
            "async": conduct.async_seconds,
            "poll": conduct.poll,
            "pause": conduct.pause,
        }

    def _become_user(self, prepared: Prepared) -> str | None:
        if self._login_user is None:
            return None
        if prepared.conduct.become_user is None:
            user = self._login_user()
            return None if user == "root" else user
        return None if prepared.conduct.become_user == "root" else prepared.conduct.become_user

    def _add_inline(self, args: dict[str, Any]) -> None:
        blob = args.get("_blob")
        if isinstance(blob, dict) and blob["sha256"] not in self._inline:
            data = self._shared.blobs.inline(blob["sha256"], blob["size"])
            if data is not None:
                self._inline[blob["sha256"]] = base64.b64encode(data).decode("ascii")
