"""The live view: a line per host with its task and a progress bar; what must be read stays above it."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Column
from rich.text import Text

from tvmops.fleet.console import closing_lines, debug_text, failure_lines, label_text, unknown_text
from tvmops.fleet.diffs import diff_text
from tvmops.fleet.recap import Recap
from tvmops.fleet.steps import StepBar
from tvmops.playbook.events import HostRecap, RunEvent

STYLES = {
    "ok": "green", "changed": "yellow", "failed": "bold red", "unreachable": "bold red", "skipped": "cyan",
    "ignored": "magenta", "rescued": "magenta", "interrupted": "red", "stopped": "red",
}  # fmt: skip


class LiveView:
    """For terminals. Hosts that have finished leave the view when there are more than fit."""

    def __init__(self, console: Console | None = None, diff: bool = False) -> None:
        self._console = console or Console()
        self._diff = diff
        self._progress = Progress(
            TextColumn("{task.fields[host]}", style="bold", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=self._console,
            expand=True,
            refresh_per_second=8,
        )
        self._lines: dict[str, TaskID] = {}
        self._current: dict[str, str] = {}
        self._steps: dict[str, StepBar] = {}

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """One line per host."""
        for host in hosts:
            self._add(host, totals[host] or 1)
        self._progress.start()

    def _add(self, host: str, total: int | None) -> TaskID:
        self._lines[host] = self._progress.add_task("waiting", total=total, host=host, start=False)
        return self._lines[host]

    def event(self, event: RunEvent) -> None:
        """Move the host's line; print what must stay."""
        line = self._lines.get(event.host)
        if line is None:  # a host that the playbook has added
            line = self._add(event.host, event.total or None)
        if event.kind in ("start", "play"):
            self._progress.start_task(line)
            self._current[event.host] = event.task or event.text
            self._steps[event.host] = StepBar()
            self._describe(event, event.task or event.text)
        elif event.kind == "progress":
            text = self._steps.setdefault(event.host, StepBar()).shown(event.text)
            self._describe(event, f"{self._current.get(event.host, '')}  {text}".strip())
        elif event.kind == "note":
            self._console.print(Text(f"{event.host}: {event.text}"))
        elif event.kind in ("task", "item"):
            self._stay(event)
            if event.kind == "task":
                self._progress.update(line, completed=event.done, total=event.total or None)
        elif event.kind == "host":
            self._host_ended(event, line)

    def _describe(self, event: RunEvent, text: str) -> None:
        # Text, not markup: a task's name may hold brackets.
        self._progress.update(self._lines[event.host], description=text.replace("[", r"\["))

    def _stay(self, event: RunEvent) -> None:
        result = event.result or {}
        if "results" in result:
            return
        if self._diff and (text := diff_text(result)):
            self._console.print(Text(f"{event.host}: {event.task}", style="bold"))
            self._console.print(Syntax(text, "diff", background_color="default", word_wrap=True))
        if doubt := unknown_text(event):
            self._console.print(Text(f"{event.host}: {event.task}{label_text(event)} ...{doubt}", style="magenta"))
        if event.status in ("failed", "rescued", "ignored"):
            self._console.print(Text("\n".join(failure_lines(event)), style=STYLES[event.status]))
        elif (said := debug_text(event)) is not None:
            self._console.print(Text(f"{event.host}: {said}"))

    def _host_ended(self, event: RunEvent, line: TaskID) -> None:
        style = STYLES.get(event.status, "")
        self._progress.update(line, description=f"[{style}]{event.status}[/{style}]" if style else event.status)
        self._progress.stop_task(line)
        crowded = len(self._lines) > max(4, self._console.height - 6)
        if crowded and event.status in ("ok", "changed"):
            self._progress.update(line, visible=False)

    def end(self, recap: Recap) -> None:
        """Leave the last state of the lines on the screen, then the recap."""
        self._progress.stop()
        for text in closing_lines(recap, self._console.width):
            host = text.split(" ", 1)[0]
            one = recap.hosts.get(host)
            self._console.print(Text(text, style=_style(one)), soft_wrap=True)


def _style(recap: HostRecap | None) -> str:
    if recap is None:
        return ""
    return "red" if recap.failed or recap.unreachable or recap.stopped else "yellow" if recap.changed else "green"
