"""What a simulator counted, beside what was expected."""

from __future__ import annotations

from tvmops.bench.report.content import Table
from tvmops.bench.report.picture import Picture
from tvmops.bench.report.words import NONE


def counters_table(picture: Picture) -> Table:
    """What VTA's simulator counted in one inference, beside what the workload expects."""
    rows = []
    for row in picture.rows:
        for name, found in ((row.tvm.job.details.get("counters") if row.tvm else None) or {}).items():
            expected, difference = found["expected"], found["difference"]
            beside = [NONE, NONE] if expected is None else [f"{expected:,}", f"{difference:+.2%}"]
            rows.append([row.workload, row.host, row.variant or NONE, name, f"{found['counted']:,}", *beside])
    columns = ["Model", "Host", "Variant", "Counter", "counted", "expected", "difference"]
    return Table(columns, rows, [False] * 4 + [True] * 3)
