"""Numbers and names as the reports write them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from tvmops.bench.statistics import Ratio, Summary

NONE = "\u2013"  # what a table shows where there is nothing
TO = "\u2013"  # between the ends of a range
TIMES = "\u00d7"


def milliseconds(seconds: float) -> str:
    """Three significant digits at least, never an exponent: 0.00123 -> "1.23", 1.2345 -> "1,234.5"."""
    value = seconds * 1000
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def interval(summary: Summary) -> str:
    """The confidence interval of a median, in ms."""
    return f"{milliseconds(summary.low)}{TO}{milliseconds(summary.high)}"


def times(ratio: Ratio) -> str:
    """How many times the baseline's time."""
    return f"{ratio.value:.1f}{TIMES}" if ratio.value >= 10 else f"{ratio.value:.2f}{TIMES}"


def times_interval(ratio: Ratio) -> str:
    """The confidence interval of a ratio."""
    digits = 1 if ratio.value >= 10 else 2
    return f"{ratio.low:.{digits}f}{TO}{ratio.high:.{digits}f}"


def duration(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(count: int | None) -> str:
    """Bytes for people, powers of ten."""
    if count is None:
        return NONE
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"


def day_and_time(moment: str) -> str:
    """An ISO time as "21 November 2026, 04:40 UTC"."""
    parsed = datetime.fromisoformat(moment).astimezone(timezone.utc)
    return f"{parsed.day} {parsed:%B %Y, %H:%M} UTC"


# How a task's answer reads as a sentence's end; others stand as they are.
ANSWERS = {
    "text": "read \u201c{}\u201d",
    "text_detection": "found the line: {}",
    "file_type": "named the type: {}",
    "orientation": "saw it turned by {}",
    "classification": "saw: {}",
    "pitch": "heard {}",
    "raw": "gave {}",
}


def answer(kind: str, text: str) -> str:
    """What a model answered, as people say it."""
    return ANSWERS.get(kind, "{}").format(text) if text else ""


def count(number: int, noun: str) -> str:
    """ "1 board", "2 boards"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def plain_value(value: Any) -> str:
    """A fact or a version as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain_value(item) for item in value)
    return NONE if value is None or value == "" else str(value)
