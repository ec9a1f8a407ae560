"""The report as one HTML file that needs nothing else: no network, no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

import tvmops
from tvmops.bench.report import content, words
from tvmops.bench.report.counters import counters_table
from tvmops.bench.report.picture import Picture
from tvmops.bench.report.plots import distributions
from tvmops.bench.report.rows import Row


def html_page(picture: Picture, source: str) -> str:
    """The page. `source` names the store. Raises MissingTool without matplotlib."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        ms=words.milliseconds,
        interval=words.interval,
        times=words.times,
        times_interval=words.times_interval,
        share=_share,
    )
    shown = [name for name in picture.runtimes if name not in picture.absent_runtimes] if _compared(picture) else []
    plots = [(name, distributions(picture, name)) for name in picture.workloads]
    return environment.get_template("page.html.j2").render(
        picture=picture,
        summary=content.summary_sentence(picture),
        cards=_cards(picture),
        has_baseline=bool(shown),
        shown_runtimes=shown,
        first_runtime=picture.first_runtime,
        samples=content.setting(picture, "repeat"),
        plots=[(name, svg) for name, svg in plots if svg],
        failures=content.failures(picture),
        caveats=content.caveats(picture),
        references_sources=content.references_sources(picture),
        references_table=content.references_table(picture),
        tuning_table=content.tuning_table(picture),
        operators_table=content.operators_table(picture),
        counters_table=counters_table(picture),
        compile_table=content.compile_table(picture),
        hosts_table=content.hosts_table(picture),
        conditions_table=content.conditions_table(picture),
        provenance_table=content.provenance_table(picture),
        hashes_table=content.hashes_table(picture),
        how=content.how_measured(picture),
        version=tvmops.__version__,
        source=source,
    )


def _compared(picture: Picture) -> bool:
    return any(row.baseline for row in picture.rows)


def _cards(picture: Picture) -> list[tuple[str, str]]:
    right, checked = picture.right_answers
    cards: list[tuple[str, str]] = []
    if checked:
        cards.append((f"{right} of {checked}", "right answers on the boards"))
    if picture.mean_ratio is not None:
        cards.append(
            (f"{picture.mean_ratio:.1f}{words.TIMES}", f"{picture.first_runtime}'s time, geometric mean over all pairs")
        )
    compiles = [sum(timing.job.phases.values()) for timing in picture.compiles if timing.job.ok]
    if compiles:
        cards.append((words.duration(sum(compiles)), f"to compile {words.count(len(compiles), 'model')}"))
    if picture.failures:
        cards.append((str(len(picture.failures)), "failed jobs" if len(picture.failures) > 1 else "failed job"))
    return cards


def _share(row: Row, which: str) -> Any:
    """A bar's length in percent of the longer of the row's two."""
    medians = {
        name: timing.summary.median
        for name, timing in (("tvm", row.tvm), ("baseline", row.baseline))
        if timing is not None and timing.summary is not None
    }
    return round(100 * medians[which] / max(medians.values()), 1)
