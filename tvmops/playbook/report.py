"""What one host's run tells its listener, and what it adds up to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tvmops.errors import HostUnreachable, TvmopsError
from tvmops.playbook.batch import Queued
from tvmops.playbook.events import HostRecap, RunEvent, censor, status_of
from tvmops.playbook.prepared import Step

OnEvent = Callable[[RunEvent], None]


class Report:
    """Emits a host's events and counts its recap. Nothing under no_log passes here uncensored."""

    def __init__(self, host: str, listener: OnEvent) -> None:
        self.recap = HostRecap(host)
        self.total = 0
        self.play = ""
        self._host = host
        self._listener = listener
        self._started = time.monotonic()
        self._done = 0

    def begin_play(self, name: str) -> None:
        """A play begins."""
        self.play = name
        self._emit("play", text=name)

    def batch(self, tasks: int, reason: str) -> None:
        """A batch of some tasks goes out; `reason` says what the tasks after it wait for."""
        self._emit("batch", text=reason, total=tasks)

    def begin_task(self, queued: Queued) -> None:
        """A task begins (told once)."""
        if not queued.started:
            queued.started = True
            self.recap.task, self.recap.position = queued.prepared.title, str(queued.entry.task.position)
            self.recap.running = True
            self._emit_task("start", queued)

    def progress(self, queued: Queued, text: str) -> None:
        """A long command's last line."""
        if not queued.prepared.no_log:
            self._emit_task("progress", queued, text=text)

    def items(self, queued: Queued, results: list[dict[str, Any]]) -> None:
        """Items of a loop that are done: `results` from the first item on; those told before are left out."""
        for number in range(queued.items_shown, len(results)):
            queued.items_shown += 1
            self._item(queued, queued.prepared.steps[number], results[number])

    def _item(self, queued: Queued, step: Step, result: dict[str, Any]) -> None:
        hidden = queued.prepared.no_log
        shown = censor(result) if hidden else result
        conduct = queued.prepared.conduct
        status = status_of(result, queued.prepared.ignore_errors, conduct.ignore_unreachable)
        self._emit_task("item", queued, status=status, label="(censored)" if hidden else step.label, result=shown)

    def end_task(self, queued: Queued, result: dict[str, Any], status: str) -> None:
        """A task is done."""
        prepared = queued.prepared
        shown = censor(result) if prepared.no_log else result
        self.begin_task(queued)
        if prepared.looped:
            self.items(queued, result.get("results") or [])
        self._done += 1
        self.recap.count(status, bool(result.get("changed")))
        self.recap.running = False
        if status == "failed":
            self.recap.error = str(shown.get("msg") or "")
        self._emit_task("task", queued, status=status, result=shown)

    def ended_by(self, error: TvmopsError) -> None:
        """Something other than a task ended the run."""
        if isinstance(error, HostUnreachable):
            self.recap.unreachable = 1
        else:
            self.recap.failed += 1
        self.recap.error, self.recap.hint, self.recap.exit_code = error.message, error.hint, error.exit_code

    def forgiven(self) -> None:
        """What went wrong so far does not count."""
        self.recap.forgiven = self.recap.failed + self.recap.unreachable
        self.recap.stopped = ""

    def stopped(self, reason: str) -> None:
        """The run ends because of what happened on other hosts."""
        self.recap.stopped = reason

    def end(self) -> HostRecap:
        """The run is over."""
        self.recap.seconds = time.monotonic() - self._started
        self._emit("host", status=_end_status(self.recap), text=self.recap.error or self.recap.stopped)
        return self.recap

    def _emit_task(self, kind: str, queued: Queued, **values: Any) -> None:
        task = queued.entry.task
        values.update(task=queued.prepared.title, module=task.module, position=str(task.position))
        self._emit(kind, handler=queued.entry.handler, **values)

    def _emit(self, kind: str, **values: Any) -> None:
        values.setdefault("total", self.total)
        elapsed = time.monotonic() - self._started
        self._listener(RunEvent(kind, self._host, elapsed, play=self.play, done=self._done, **values))


def _end_status(recap: HostRecap) -> str:
    if recap.unreachable and recap.spoiled:
        return "unreachable"
    if recap.interrupted:
        return "interrupted"
    if recap.stopped and not recap.failed:
        return "stopped"
    return "failed" if recap.failed > recap.forgiven else "changed" if recap.changed else "ok"
