"""Tasks on their way to the board and back: the queue's entries, and the message for a batch."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tvmops.playbook.plan import Entry, local_result
from tvmops.playbook.prepare import Prepared, Step, TaskContext
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
        self._local: dict[str, Any] | None = None
        self._settled: list[dict[str, Any]] = []

    @property
    def ready(self) -> bool:
        """True when its result is known."""
        return not self.remote or self.board_result is not None

    def local_result(self) -> dict[str, Any]:
        """The result when the board has no part in it."""
        if self._local is None:
            self._local = local_result(self.context, self.prepared)
        return self._local

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

    def final_result(self) -> dict[str, Any]:
        """The whole result, with the verdicts of changed_when and failed_when."""
        if not self.remote:
            return self.local_result()
        board = self.board_result or {}
        if not self.prepared.looped:
            return combine(self.prepared, [self._judged(self.prepared.steps[0], board)])
        # Without an answer for every item the board could not even begin: its own result says why.
        return combine(self.prepared, self._settled) if len(self._settled) == len(self.prepared.steps) else board

    def _judged(self, step: Step, result: dict[str, Any]) -> dict[str, Any]:
        return judge(self.context, self.prepared, step, result)


class Batch:
    """The message for the agent. `login_user` is given when the agent runs as root."""

    def __init__(self, number: int, queue: list[Queued], shared: Shared, login_user: Callable[[], str] | None) -> None:
        self._shared = shared
        self._login_user = login_user
        self._inline: dict[str, str] = {}
        tasks = []
        for index, queued in enumerate([one for one in queue if one.remote], 1):
            queued.number = number * 100_000 + index
            tasks.append(self._task(queued))
        options = shared.options
        self.message: dict[str, Any] = {
            "op": "batch", "id": number, "check": options.check, "diff": options.diff, "tasks": tasks,
            "blobs": self._inline,
        }  # fmt: skip

    def _task(self, queued: Queued) -> dict[str, Any]:
        prepared = queued.prepared
        steps = [step for step in prepared.steps if step.args is not None]
        for step in steps:
            self._add_inline(step.args or {})
        return {
            "id": queued.number,
            "module": prepared.task.module,
            "args": {} if prepared.looped else steps[0].args,
            "loop": [{"args": step.args, "label": step.label} for step in steps] if prepared.looped else None,
            "become_user": self._become_user(prepared),
            "environment": prepared.environment,
            "check": self._shared.options.check,
            "diff": self._shared.options.diff,
            # A registered result is needed here whole; what is shown of it is censored here.
            "no_log": prepared.no_log and prepared.task.register is None,
            "ignore_errors": prepared.ignore_errors,
            "changed_when": prepared.changed_when,
            "failed_when": prepared.failed_when,
        }

    def _become_user(self, prepared: Prepared) -> str | None:
        if self._login_user is None:
            return None
        if prepared.become_user is None:
            user = self._login_user()
            return None if user == "root" else user
        return None if prepared.become_user == "root" else prepared.become_user

    def _add_inline(self, args: dict[str, Any]) -> None:
        blob = args.get("_blob")
        if isinstance(blob, dict) and blob["sha256"] not in self._inline:
            data = self._shared.blobs.inline(blob["sha256"], blob["size"])
            if data is not None:
                self._inline[blob["sha256"]] = base64.b64encode(data).decode("ascii")
