"""The commands `report` and `results`: what was measured, for people and for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tvmops.cli.common import command

SWEEP_HELP = "sweep name, number of a run, or 'latest' (default)"
STORE_HELP = "where results are kept, as SQLAlchemy URL (default: .tvmops/results.sqlite)"


@command(
    help={
        "output": "folder for the report (default: .tvmops/reports/NAME-RUN)",
        "sweep": SWEEP_HELP,
        "store": STORE_HELP,
    }
)
def report(ctx: Any, output: str | None = None, sweep: str = "latest", store: str | None = None) -> None:
    """Write the report of a sweep: one self-contained HTML page, Markdown and CSV."""
    from tvmops.bench.report.write import report_folder, write_report

    picture, source = _picture(sweep, store)
    folder = Path(output) if output else report_folder(picture)
    for path in write_report(picture, folder, source):
        print(path)


@command(
    help={
        "sweep": SWEEP_HELP,
        "json_": "everything as one JSON object, raw samples in seconds",
        "csv": "a line per model, host and runtime, times in seconds",
        "store": STORE_HELP,
    }
)
def results(ctx: Any, sweep: str = "latest", json_: bool = False, csv: bool = False, store: str | None = None) -> None:
    """Show what a sweep measured."""
    from tvmops.bench.report.tables import as_csv, as_json
    from tvmops.bench.report.write import written_report

    picture, _ = _picture(sweep, store)
    if json_:
        page = written_report(picture)
        print(json.dumps(as_json(picture, str(page) if page else None), indent=1))
    elif csv:
        sys.stdout.write(as_csv(picture))
    else:
        _show(picture)


def _picture(sweep: str, url: str | None) -> tuple[Any, str]:
    from tvmops.bench.report.picture import find_sweep, take_picture
    from tvmops.bench.store import Store

    store = Store(url)
    try:
        return take_picture(store, find_sweep(store, sweep)), store.url
    finally:
        store.close()


def _show(picture: Any) -> None:
    from tvmops.bench.report import words
    from tvmops.bench.report.content import caveats, failures, summary_sentence

    console = Console(highlight=False)
    console.print(summary_sentence(picture), markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    variants = ("variant", "tuning") if picture.has_variants else ()
    numbers = ("TVM, ms", *(f"{runtime}, ms" for runtime in picture.runtimes), "ratio")
    for title in ("model", "host", *variants, *numbers, "answer"):
        table.add_column(title, justify="right" if title in numbers else "left")
    for row in picture.rows:
        mark = {True: "correct: ", False: "WRONG: ", None: ""}[row.answer_ok]
        others = [row.others.get(runtime) for runtime in picture.runtimes]
        table.add_row(
            row.workload,
            row.host,
            *((row.variant or words.NONE, row.tuning) if variants else ()),
            words.milliseconds(row.tvm.summary.median) if row.ok else row.missing,
            *(_number(one) for one in others),
            words.times(row.ratio) if row.ratio else words.NONE,
            f"{mark}{row.answer_words}",
        )
    console.print(table)
    for what, kind, message in failures(picture):
        console.print(f"failed: {what}: {kind}: {message}", style="red", markup=False)
    for line in caveats(picture):
        console.print(f"note: {line}", markup=False)


def _number(timing: Any) -> str:
    """A baseline's median in ms, or why there is none."""
    from tvmops.bench.jobs import ABSENT
    from tvmops.bench.report import words

    if timing is None or timing.summary is None:
        return "absent" if timing is not None and timing.job.error_kind == ABSENT else words.NONE
    return words.milliseconds(timing.summary.median)


COMMANDS = [report, results]
