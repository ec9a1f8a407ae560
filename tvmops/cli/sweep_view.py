"""How a running sweep looks: progress bars on a terminal, plain lines elsewhere, JSON events on request."""

from __future__ import annotations

import json
import statistics
import time
from types import TracebackType
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from tvmops.bench.report.words import duration, milliseconds

STAGES = {"tune": "tune", "compile": "compile", "measure": "measure", "baseline": "baseline"}
TUNING_LINE_SECONDS = 30.0


class View(Protocol):
    """Shows the events of a sweep."""

    def emit(self, event: dict[str, Any]) -> None:
        """Take one event; never called by two threads at once."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(as_json: bool, output: TextIO) -> View:
    """The view that fits `output`."""
    if as_json:
        return JsonView(output)
    console = Console(file=output, highlight=False, soft_wrap=True)
    return LiveView(console) if console.is_terminal else PlainView(console)


class _Base:
    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class JsonView(_Base):
    """One JSON object per line."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def emit(self, event: dict[str, Any]) -> None:
        """Print the event."""
        self._output.write(json.dumps(event, sort_keys=True) + "\n")
        self._output.flush()


class PlainView(_Base):
    """A line per finished job, numbered among those to run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._number = 0
        self._total = 0
        self._told = 0.0  # when tuning was last worth a line
        self._ended: set[tuple[Any, ...]] = set()  # tasks whose end was told

    def emit(self, event: dict[str, Any]) -> None:
        """Print what is worth a line."""
        if event["event"] == "sweep_start":
            self._total = sum(event["todo"].values())
        if event["event"] in ("job_done", "job_skipped"):
            self._number += 1
        if event["event"] == "tuning":
            self._tuning(event)
            return
        line = event_line(event)
        if line is not None:
            width = len(str(self._total))
            counted = event["event"] in ("job_done", "job_skipped")
            prefix = f"[{self._number:>{width}}/{self._total}] " if counted else ""
            self._console.print(Text(prefix) + line)

    def _tuning(self, event: dict[str, Any]) -> None:
        task = (event["key"], event["task"])
        ends = event.get("trial") == event.get("trials") and task not in self._ended
        if ends:
            self._ended.add(task)
        if ends or time.monotonic() - self._told > TUNING_LINE_SECONDS:
            self._told = time.monotonic()
            self._console.print(f"tuning {event['workload']}: {tuning_words(event)}")


class LiveView(_Base):
    """A progress bar per stage with the time left, one line per lane that works, finished jobs above."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            _StageBar(bar_width=30),
            _Count(),
            _TimeLeft(),
            TextColumn("[dim]{task.fields[now]}"),
            console=console,
            transient=True,
            refresh_per_second=5,
        )
        self._stages: dict[str, TaskID] = {}
        self._lanes: dict[str, TaskID] = {}

    def __enter__(self) -> LiveView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def emit(self, event: dict[str, Any]) -> None:
        """Move the bars; print finished jobs above them."""
        name = event["event"]
        if name == "sweep_start":
            for kind, label in STAGES.items():
                if event["todo"][kind]:
                    fields: dict[str, Any] = {"now": "", "spent": 0.0, "ran": 0, "since": 0.0}
                    self._stages[kind] = self._progress.add_task(label, total=event["todo"][kind], **fields)
        elif name in ("job_start", "job_phase", "tuning") or (name == "waiting" and event["host"]):
            self._show_lane(event)
        elif name in ("job_done", "job_skipped"):
            self._advance(event)
            self._hide_lane(event)
        line = event_line(event)
        if line is not None:
            self._progress.console.print(line)

    def refresh(self) -> None:
        """Draw now instead of at the next tick."""
        self._progress.refresh()

    def _advance(self, event: dict[str, Any]) -> None:
        stage = self._stages.get(event["kind"])
        if stage is None:
            return
        task = self._progress.tasks[stage]
        spent = task.fields["spent"] + event.get("seconds", 0.0)
        ran = task.fields["ran"] + (event["event"] == "job_done")
        self._progress.update(stage, advance=1, spent=spent, ran=ran, since=time.monotonic())

    def _show_lane(self, event: dict[str, Any]) -> None:
        lane = event["host"] or event["kind"]
        now = event["workload"] + (f": {event['phase']}" if event.get("phase") else "")
        if event["event"] == "waiting":
            now = event["text"]
        if event["event"] == "tuning":
            now = f"{event['workload']}: {tuning_words(event)}"
        if lane not in self._lanes:
            self._lanes[lane] = self._progress.add_task(f"  {lane}", total=None, now=now)
        self._progress.update(self._lanes[lane], now=now, visible=True)

    def _hide_lane(self, event: dict[str, Any]) -> None:
        lane = self._lanes.get(event["host"] or event["kind"])
        if lane is not None:
            self._progress.update(lane, visible=False)


class _StageBar(BarColumn):
    def render(self, task: Task) -> Any:
        return Text("") if task.total is None else super().render(task)


class _Count(MofNCompleteColumn):
    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task)


class _TimeLeft(ProgressColumn):
    """Time left when the stage's other jobs take as long as those that have ended."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        if task.completed >= task.total:
            return Text("done", style="progress.remaining")
        if not task.fields["ran"]:
            return Text("-:--", style="progress.remaining")
        each = task.fields["spent"] / task.fields["ran"]
        waited = min(each, time.monotonic() - task.fields["since"])
        left = round(each * (task.total - task.completed) - waited)
        return Text(f"{left // 60}:{left % 60:02d} left", style="progress.remaining")


def event_line(event: dict[str, Any]) -> Text | None:
    """The line that an event is worth, or None."""
    name = event["event"]
    if name == "sweep_start":
        return _start_line(event)
    if name in ("environment", "board"):
        return Text(event["text"])
    if name == "waiting":
        return Text(f"waiting: {event['text']}", style="yellow")
    if name == "retry":
        return Text(f"retrying {event['title']}: {event['text']}", style="yellow")
    if name == "job_skipped":
        return Text(f"not run: {event['title']} (failed: {event['because']})", style="yellow")
    if name == "job_done":
        return _done_line(event)
    if name == "sweep_end":
        return _end_line(event)
    return None


def _start_line(event: dict[str, Any]) -> Text:
    todo = ", ".join(f"{event['todo'][kind]} {label}" for kind, label in STAGES.items() if event["todo"][kind])
    stored, planned = event["stored"], sum(event["planned"].values())
    known = f"; {stored} of {planned} jobs are stored already" if stored else ""
    return Text(f"sweep {event['sweep']} on {', '.join(event['hosts'])}: {todo or 'nothing to do'}{known}")


def _done_line(event: dict[str, Any]) -> Text:
    if not event["ok"]:
        error = event["error"]
        if error["kind"] == "Absent":
            return Text(f"absent: {event['title']}: {error['message'].splitlines()[0]}", style="yellow")
        return Text(f"FAILED {event['title']}: {error['kind']}: {error['message'].splitlines()[0]}", style="red")
    parts = []
    if event.get("samples"):
        parts.append(f"median {milliseconds(statistics.median(event['samples']))} ms")
    if event.get("task"):
        parts.append(answer_text(event["task"]))
    parts.append("found where an earlier run left it" if event["reused"] else f"{event['seconds']:.1f} s")
    return Text(f"{event['title']}: {'; '.join(parts)}")


def _end_line(event: dict[str, Any]) -> Text:
    failed = f", {event['failed']} failed" if event["failed"] else ""
    return Text(
        f"{event['status']} after {event['seconds']:.1f} s: {event['stored']} of {event['planned']} jobs stored{failed}"
    )


def answer_text(task: dict[str, Any]) -> str:
    """What a model answered, and whether that is right."""
    verdict = {True: "correct", False: "WRONG", None: "not checked"}[task.get("ok")]
    return f"{task.get('answer', '')} ({verdict})"


def tuning_words(event: dict[str, Any]) -> str:
    """How far tuning is: task, trials, speed, best, time left, failures by kind."""
    parts = [f"task {event['task']}/{event['tasks']} {event['name']}, trial {event['trial']}/{event['trials']}"]
    if event.get("trials_per_second"):
        parts.append(f"{event['trials_per_second']:.2f} trials/s")
    if event.get("best_gflops"):
        parts.append(f"best {event['best_gflops']:.1f} GFLOPS")
    if event.get("failures"):
        parts.append("failed: " + ", ".join(f"{count} {kind}" for kind, count in sorted(event["failures"].items())))
    if event.get("eta_seconds"):
        parts.append(f"{duration(event['eta_seconds'])} left")
    return ", ".join(parts)
