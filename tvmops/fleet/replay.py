"""What an agent kept of a run, told again as the events of a run."""

from __future__ import annotations

from typing import Any

from tvmops.connection.situation import duration
from tvmops.playbook.events import HostRecap, RunEvent, status_of


class Replay:
    """Turns one host's spooled events into RunEvents and counts its recap.

    A failed task after which others ran was ignored; which one ended its batch is known at the batch's end.
    """

    def __init__(self, host: str) -> None:
        self.recap = HostRecap(host)
        self._tasks: dict[Any, list[Any]] = {}
        self._failed: RunEvent | None = None

    def take(self, event: dict[str, Any]) -> list[RunEvent]:
        """What one spooled event tells."""
        kind = event.get("ev")
        told: list[RunEvent] = []
        if kind == "batch":
            self._tasks.update({task[0]: task for task in event.get("tasks") or () if len(task) == 4})
        elif kind == "start":
            told = self._settle(ended=False)
            if not event.get("item"):
                told.append(self._begun(event))
        elif kind == "progress":
            told = [self._event("progress", event, text=str(event.get("text", "")))]
        elif kind == "result" and isinstance(event.get("item"), int):
            result = event.get("result") or {}
            told = [self._event("item", event, status=status_of(result), label=event.get("label"), result=result)]
        elif kind == "done":
            told = self._done(event)
        elif kind == "batch_end":
            told = self._settle(ended=event.get("stopped_at") is not None)
        return told

    def end(self, finished: bool) -> RunEvent:
        """Nothing more comes; `finished`: the last batch came to its end."""
        self.recap.interrupted = not finished
        if self._failed is not None:
            self.recap.count("failed")
        return RunEvent("host", self.recap.host, status="failed" if self.recap.failed else "ok", text=self.recap.error)

    def _begun(self, event: dict[str, Any]) -> RunEvent:
        begun = self._event("start", event)
        self.recap.task, self.recap.position, self.recap.running = begun.task, begun.position, True
        return begun

    def _done(self, event: dict[str, Any]) -> list[RunEvent]:
        result = event.get("result") or {}
        told = self._event("task", event, status=status_of(result), result=result)
        self.recap.running = False
        if told.status == "failed":
            self._failed = told
            return []
        self.recap.count(told.status, bool(result.get("changed")))
        return [told]

    def _settle(self, ended: bool) -> list[RunEvent]:
        """The last failure, now that it is known whether it was ignored."""
        failed, self._failed = self._failed, None
        if failed is None:
            return []
        status = "failed" if ended else "ignored"
        result = failed.result or {}
        self.recap.count(status, bool(result.get("changed")))
        if ended:
            self.recap.error = str(result.get("msg") or "")
        return [
            RunEvent(
                "task", failed.host, failed.seconds, task=failed.task, module=failed.module, position=failed.position,
                status=status, result=result,
            )
        ]  # fmt: skip

    def _event(self, kind: str, event: dict[str, Any], **values: Any) -> RunEvent:
        _, title, position, module = self._tasks.get(event.get("task"), (None, "a task", "", ""))
        seconds = float(event.get("t") or 0.0)
        return RunEvent(
            kind, self.recap.host, seconds, task=str(title), module=str(module or ""), position=str(position or ""),
            **values,
        )  # fmt: skip


def told_end(run: dict[str, Any]) -> str:
    """What became of a run whose controller went away, for a person; `run` is an entry of the agent's `finished`."""
    text = f"run {run.get('run')} of {run.get('what') or 'a playbook'}"
    ago = f" {duration(run['ago'])} ago" if isinstance(run.get("ago"), (int, float)) else ""
    if run.get("complete"):
        text += f" was cut off and finished its batch without us{ago}"
    elif run.get("restarted"):
        text += " was cut off when the board was restarted"
    else:
        text += f" was cut off{ago}, before its batch had ended"
    text += f": {run.get('tasks', 0)} tasks, {run.get('changed', 0)} changed"
    if run.get("stopped_at"):
        text += f", failed at '{run['stopped_at']}'"
    elif run.get("running"):
        text += f", the last at '{run['running']}'"
    return text
