"""The report as Markdown, for issues, wikis and terminals."""

from __future__ import annotations

from collections.abc import Sequence

from tvmops.bench.jobs import ABSENT
from tvmops.bench.report import content, words
from tvmops.bench.report.content import Table
from tvmops.bench.report.counters import counters_table
from tvmops.bench.report.picture import Picture
from tvmops.bench.report.rows import Row, Timing

OTHERS = "Beside numbers of others"


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
        (OTHERS, content.references_table(picture)),
        ("Tuning", content.tuning_table(picture)),
        ("Operators", content.operators_table(picture)),
        ("Counted on VTA's simulator, per inference", counters_table(picture)),
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
        if table.rows and heading == OTHERS:
            parts.append(_bullets(content.references_sources(picture)))
    return "\n\n".join(parts) + "\n"


def _results(picture: Picture) -> str:
    columns = ["Model", "Host"]
    numeric = [False, False]
    if picture.has_variants:
        columns += ["Variant", "Tuning"]
        numeric += [False, False]
    columns += ["TVM, ms", "95 % interval"]
    numeric += [True, True]
    for runtime in picture.runtimes:
        columns += [f"{runtime}, ms", "95 % interval"]
        numeric += [True, True]
    table = Table([*columns, "Ratio", "Answer"], [_row(row, picture) for row in picture.rows], [*numeric, True, False])
    return _table(table)


def _row(row: Row, picture: Picture) -> list[str]:
    cells = [row.workload, row.host]
    if picture.has_variants:
        cells += [row.variant or words.NONE, row.tuning]
    cells += _number(row.tvm, row.missing)
    for runtime in picture.runtimes:
        cells += _number(row.others.get(runtime), words.NONE)
    mark = {True: "✓ ", False: "✗ wrong: ", None: ""}[row.answer_ok]
    return [*cells, words.times(row.ratio) if row.ratio else words.NONE, f"{mark}{row.answer_words}"]


def _number(timing: Timing | None, missing: str) -> list[str]:
    if timing is not None and timing.summary is not None:
        return [words.milliseconds(timing.summary.median), words.interval(timing.summary)]
    if timing is not None and timing.job.error_kind == ABSENT:
        return ["absent", ""]
    return [missing or words.NONE, ""]


def _table(table: Table) -> str:
    lines = [_line(table.columns), _line(["---:" if right else "---" for right in table.numeric])]
    return "\n".join(lines + [_line(row) for row in table.rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
