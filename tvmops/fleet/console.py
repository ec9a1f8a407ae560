"""What a person reads when there is no live view: one plain line per finished task, diffs, failures, the recap."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import IO, Any

from tvmops.fleet.diffs import diff_text
from tvmops.fleet.recap import Recap, recap_lines
from tvmops.playbook.events import HostRecap, RunEvent

STDERR_LINES = 12
LABEL_LENGTH = 60


def label_text(event: RunEvent) -> str:
    """A loop item's label in brackets, on one line and no longer than people read; empty outside loops."""
    if event.label is None:
        return ""
    text = " ".join(event.label.split())
    return f" ({text if len(text) <= LABEL_LENGTH else text[: LABEL_LENGTH - 1] + '…'})"


def failure_lines(event: RunEvent) -> list[str]:
    """A failed task for a person: host, task, place, message, the end of stderr."""
    result = event.result or {}
    word = "RESCUED" if event.status == "rescued" else "FAILED"
    lines = [f"{event.host}: {word}: {event.task}{label_text(event)}"]
    lines.append(f"  at {event.position}")
    lines.extend(f"  {line}" for line in message_of(result).splitlines())
    if result.get("hint"):
        lines.append(f"  {result['hint']}")
    for name in ("stdout", "stderr"):
        text = str(result.get(name) or "").rstrip()
        if text and (name == "stderr" or not result.get("stderr")):
            kept = text.splitlines()[-STDERR_LINES:]
            lines.extend([f"  {name}:", *(f"    {line}" for line in kept)])
    return lines


def message_of(result: Mapping[str, Any]) -> str:
    """What a result says about itself."""
    if "censored" in result:
        return str(result["censored"])
    message = str(result.get("msg") or "")
    if "assertion" in result:
        message = f"{message}: {result['assertion']}"
    return message or "no message"


def debug_text(event: RunEvent) -> str | None:
    """What a debug task has to say, or None for other tasks."""
    result = event.result or {}
    if event.module != "debug" or "censored" in result or result.get("skipped") or "results" in result:
        return None
    skip = ("changed", "failed", "item", "ansible_loop_var", "failed_when_result")
    values = {key: one for key, one in result.items() if key not in skip}
    if set(values) == {"msg"} and isinstance(values["msg"], str):
        return values["msg"]
    import json

    return "\n".join(f"{key}: {json.dumps(one, indent=2, default=str)}" for key, one in values.items())


def unknown_text(event: RunEvent) -> str:
    """What a check run says of a task whose doings it cannot know."""
    result = event.result or {}
    if not result.get("unknown") or event.status not in ("ok", "changed") or "results" in result:
        return ""
    return f" (unknown: {result.get('msg')})" if result.get("msg") else " (unknown)"


def ending_lines(recap: HostRecap) -> list[str]:
    """How a host's run ended when it was not by a task's own failure."""
    if recap.interrupted:
        word = "at" if recap.running else "after"
        at = f" {word} '{recap.task}' ({recap.position})" if recap.task else " before its first task"
        return [f"{recap.host}: interrupted{at}"]
    if recap.unreachable or recap.exit_code:
        kind = "UNREACHABLE" if recap.unreachable else "FAILED"
        lines = [f"{recap.host}: {kind}: {recap.error}"]
        return [*lines, f"  {recap.hint}"] if recap.hint else lines
    if recap.stopped and not recap.failed:
        return [f"{recap.host}: STOPPED: {recap.stopped}"]
    return [f"{recap.host}: FAILED: {recap.error}"] if recap.error.startswith("internal error") else []


def closing_lines(recap: Recap, width: int | None = None) -> list[str]:
    """What follows the last event: hosts' ends, the recap, the record, how to go on; within `width` columns."""
    lines = [line for one in recap.hosts.values() for line in ending_lines(one)]
    lines += ["", ("PLAY RECAP " + "*" * 69)[:width], *recap_lines(recap.hosts.values(), width), ""]
    if recap.interrupted:
        lines.append("interrupted: run the same command again to go on; what is done will be found unchanged")
    if recap.folder is not None and (not recap.ok or recap.interrupted):
        lines.append(f"record: {recap.folder}")
    return lines


class Colours:
    """ANSI colours, or none."""

    CODES: Mapping[str, str] = {
        "ok": "32", "changed": "33", "failed": "31", "unreachable": "31", "skipped": "36", "ignored": "35",
        "rescued": "35", "stopped": "31",
        "interrupted": "31", "+": "32", "-": "31", "@": "36",
    }  # fmt: skip

    def __init__(self, on: bool) -> None:
        self.on = on

    def paint(self, text: str, status: str) -> str:
        """`text` in the colour of a status."""
        code = self.CODES.get(status)
        return f"\033[{code}m{text}\033[0m" if self.on and code else text

    def diff(self, text: str) -> str:
        """A diff with coloured lines."""
        return "".join(self.paint(line, line[:1]) for line in text.splitlines(keepends=True)) if self.on else text


class PlainView:
    """One line per finished task: `host: task ... changed`. Quiet shows failures and the recap only."""

    def __init__(
        self, out: IO[str] | None = None, diff: bool = False, quiet: bool = False, colour: bool = False
    ) -> None:
        self._out = out or sys.stdout
        self._diff = diff
        self._quiet = quiet
        self._colours = Colours(colour)

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """Nothing to show yet."""

    def event(self, event: RunEvent) -> None:
        """Show what is worth a line."""
        if event.kind == "play" and not self._quiet:
            self._line(f"{event.host}: play {event.text or event.play}".rstrip())
        elif event.kind in ("task", "item"):
            self._finished(event)
        elif event.kind == "note":
            self._line(f"{event.host}: {event.text}")
        elif event.kind == "host" and event.text.startswith("Traceback"):
            self._line(event.text)

    def _finished(self, event: RunEvent) -> None:
        result = event.result or {}
        looped = "results" in result
        if not self._quiet:
            status = self._colours.paint(event.status, event.status) + unknown_text(event)
            self._line(f"{event.host}: {event.task}{label_text(event)} ... {status}")
            text = debug_text(event)
            if text is not None:
                self._line("\n".join(f"    {line}" for line in text.splitlines()))
        if self._diff and not looped:
            text = diff_text(result)
            if text:
                self._out.write(self._colours.diff(text))
                self._out.flush()
        if event.status in ("failed", "rescued") and not looped and not (self._quiet and event.status == "rescued"):
            for line in failure_lines(event):
                self._line(self._colours.paint(line, event.status))

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def end(self, recap: Recap) -> None:
        """The recap."""
        for line in closing_lines(recap):
            self._line(line)


class JsonView:
    """One JSON object per line and event; the last is the recap."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """The first line names the hosts."""
        self._write({"event": "begin", "hosts": {name: totals[name] for name in hosts}})

    def event(self, event: RunEvent) -> None:
        """As it is."""
        self._write(event.as_dict())

    def end(self, recap: Recap) -> None:
        """The recap; each host's error goes with it."""
        errors = {one.host: one.error for one in recap.hosts.values() if one.error}
        self._write({**recap.as_dict(), **({"errors": errors} if errors else {})})

    def _write(self, values: dict[str, Any]) -> None:
        import json

        self._out.write(json.dumps(values, default=str, ensure_ascii=False) + "\n")
        self._out.flush()
