"""The report as Markdown, for issues, wikis and terminals."""

from __future__ import annotations

from collections.abc import Sequence

from tvmops.bench.report import content, words
from tvmops.bench.report.content import Table
from tvmops.bench.report.picture import Picture, Row


def markdown(picture: Picture) -> str:
    """The report's text and tables."""
    title = picture.sweep.definition.get("description") or picture.sweep.name
    parts = [f"# {title}", content.summary_sentence(picture), _results(picture)]
    for what, kind, message in content.failures(picture):
        quoted = message.replace("\n", "\n> ")
        parts.append(f"**Failed: {what}: {kind}**\n\n> {quoted}")
    if caveats := content.caveats(picture):
        parts += ["## Read this before you quote a number", _bullets(caveats)]
    sections = (
        ("Compile time (s) and size", content.compile_table(picture)),
        ("Hosts", content.hosts_table(picture)),
        ("Conditions before → after", content.conditions_table(picture)),
        ("Provenance", content.provenance_table(picture)),
        ("What exactly was run", content.hashes_table(picture)),
    )
    parts += ["## How it was measured", _bullets(content.how_measured(picture))]
    for heading, table in sections:
        if table.rows:
            parts += [f"## {heading}", _table(table)]
    return "\n\n".join(parts) + "\n"


def _results(picture: Picture) -> str:
    columns = ["Model", "Host", "TVM, ms", "95 % interval", "onnxruntime, ms", "95 % interval", "Ratio", "Answer"]
    numeric = [False, False, True, True, True, True, True, False]
    return _table(Table(columns, [_row(row) for row in picture.rows], numeric))


def _row(row: Row) -> list[str]:
    cells = [row.workload, row.host]
    for timing, missing in ((row.tvm, row.missing), (row.baseline, words.NONE)):
        if timing is not None and timing.summary is not None:
            cells += [words.milliseconds(timing.summary.median), words.interval(timing.summary)]
        else:
            cells += [missing or words.NONE, ""]
    mark = {True: "✓ ", False: "✗ wrong: ", None: ""}[row.answer_ok]
    return [*cells, words.times(row.ratio) if row.ratio else words.NONE, f"{mark}{row.answer_words}"]


def _table(table: Table) -> str:
    lines = [_line(table.columns), _line(["---:" if right else "---" for right in table.numeric])]
    return "\n".join(lines + [_line(row) for row in table.rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
