"""What a running sweep looks like on a terminal, in a log file and to a program."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from tvmops.cli.sweep_view import LiveView, PlainView, make_view

JOB: dict[str, Any] = {"kind": "measure", "workload": "ocr", "host": "nano", "title": "measure ocr on nano"}
START = {
    "event": "sweep_start",
    "sweep": "night",
    "hosts": ["nano"],
    "planned": {"tune": 0, "compile": 1, "measure": 2, "baseline": 2},
    "todo": {"tune": 0, "compile": 0, "measure": 2, "baseline": 2},
    "stored": 1,
}
EVENTS: list[dict[str, Any]] = [
    START,
    {"event": "environment", "text": "making the environment x"},
    {"event": "waiting", "host": "nano", "workload": "ocr", "kind": "measure", "text": "nano is held by ann"},
    {"event": "job_start", **JOB},
    {"event": "job_phase", **JOB, "phase": "upload"},
    {"event": "retry", **JOB, "text": "no answer"},
    {
        "event": "job_done",
        **JOB,
        "ok": True,
        "seconds": 4.25,
        "reused": False,
        "samples": [0.001, 0.003, 0.002],
        "task": {"ok": True, "answer": "[42]", "expected": "[42]"},
    },
    {"event": "job_done", **JOB, "ok": False, "seconds": 1.0, "error": {"kind": "Rpc", "message": "dead\nlong story"}},
    {"event": "job_skipped", **JOB, "kind": "baseline", "title": "onnxruntime ocr on nano", "because": "compile ocr"},
    {"event": "sweep_end", "status": "failed", "seconds": 9.0, "stored": 4, "planned": 5, "failed": 1},
]
LINES = [
    "sweep night on nano: 2 measure, 2 baseline; 1 of 5 jobs are stored already",
    "making the environment x",
    "waiting: nano is held by ann",
    "retrying measure ocr on nano: no answer",
    "[1/4] measure ocr on nano: median 2.00 ms; [42] (correct); 4.2 s",
    "[2/4] FAILED measure ocr on nano: Rpc: dead",
    "[3/4] not run: onnxruntime ocr on nano (failed: compile ocr)",
    "failed after 9.0 s: 4 of 5 jobs stored, 1 failed",
]


def test_plain_lines() -> None:
    """One per thing worth a line; square brackets of an answer are not taken for colours."""
    output = io.StringIO()
    view = PlainView(Console(file=output, highlight=False, soft_wrap=True))
    with view:
        for event in EVENTS:
            view.emit(event)
    assert output.getvalue().splitlines() == LINES


def test_json_events() -> None:
    """As they come."""
    output = io.StringIO()
    with make_view(True, output) as view:
        for event in EVENTS:
            view.emit(event)
    assert [json.loads(line) for line in output.getvalue().splitlines()] == EVENTS


def test_a_file_gets_plain_lines() -> None:
    """No bars where nobody looks."""
    assert isinstance(make_view(False, io.StringIO()), PlainView)


def test_bars_on_a_terminal_and_every_result_above_them() -> None:
    """With the time left from the jobs that have ended."""
    output = io.StringIO()
    view = LiveView(Console(file=output, force_terminal=True, width=120, color_system=None))
    with view:
        for event in EVENTS:
            view.emit(event)
            view.refresh()
    shown = output.getvalue()
    assert "measure ocr on nano: median 2.00 ms; [42] (correct); 4.2 s" in shown
    assert "1/2" in shown
    assert "0:04 left" in shown
    assert "ocr: upload" in shown
    assert "done" in shown


def test_tuning_is_a_line_for_each_task_that_ends() -> None:
    """Once, and one now and then for the trials between."""
    output = io.StringIO()
    event = {"event": "tuning", "key": "k", "workload": "net", "task": 1, "tasks": 2, "name": "conv2d", "trials": 2}
    with PlainView(Console(file=output, highlight=False, soft_wrap=True)) as view:
        for trial in (1, 2, 2):
            view.emit({**event, "trial": trial, "best_gflops": 12.34, "failures": {"run": 1}, "trials_per_second": 0.5})
    lines = output.getvalue().splitlines()
    assert lines[-1] == "tuning net: task 1/2 conv2d, trial 2/2, 0.50 trials/s, best 12.3 GFLOPS, failed: 1 run"
    assert sum("trial 2/2" in line for line in lines) == 1
