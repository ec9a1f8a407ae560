"""The results as data: JSON for programs, CSV for spreadsheets. Times in seconds, named so."""

from __future__ import annotations

import csv
import io
from typing import Any

from tvmops.bench.report.picture import Picture
from tvmops.bench.report.rows import Row, Timing, compile_target

CSV_COLUMNS = (
    "workload",
    "host",
    "variant",
    "tuning",
    "runtime",
    "stack",
    "ok",
    "error_kind",
    "median_s",
    "low95_s",
    "high95_s",
    "min_s",
    "p90_s",
    "mad_s",
    "samples",
    "ratio_to_baseline",
    "answer",
    "answer_ok",
    "started",
)


def as_json(picture: Picture, report: str | None) -> dict[str, Any]:
    """Everything, raw samples included. `report` is the path of the HTML page, if one was written."""
    sweep = picture.sweep
    return {
        "sweep": {
            "id": sweep.id,
            "name": sweep.name,
            "status": sweep.status,
            "started": sweep.started,
            "seconds": sweep.seconds,
            "definition": sweep.definition,
        },
        "report": report,
        "measurements": [_measurement(row) for row in picture.rows],
        "compiles": [_compile(timing) for timing in picture.compiles],
        "hosts": picture.hosts,
        "versions": picture.versions,
    }


def as_csv(picture: Picture) -> str:
    """A line per workload, host and runtime."""
    output = io.StringIO()
    writer = csv.DictWriter(output, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    written: set[tuple[str, str, str]] = set()
    for row in picture.rows:
        writer.writerow(_csv_line(row, "TVM", row.tvm))
        for runtime, timing in row.others.items():
            if (row.workload, row.host, runtime) not in written:
                written.add((row.workload, row.host, runtime))
                writer.writerow(_csv_line(row, runtime, timing))
    return output.getvalue()


def _csv_line(row: Row, runtime: str, timing: Timing | None) -> dict[str, Any]:
    line: dict[str, Any] = {"workload": row.workload, "host": row.host, "runtime": runtime, "ok": False}
    if runtime == "TVM":
        line |= {"variant": row.variant, "tuning": row.tuning}
    if timing is None:
        return {**line, "error_kind": row.missing}
    job = timing.job
    task = job.task or {}
    line |= {"stack": job.stack if runtime == "TVM" else "", "ok": job.ok, "error_kind": job.error_kind or ""}
    line |= {"started": job.started, "answer": task.get("answer", ""), "answer_ok": task.get("ok", "")}
    if timing.summary is not None:
        summary = timing.summary
        line |= {"median_s": summary.median, "low95_s": summary.low, "high95_s": summary.high}
        line |= {"min_s": summary.minimum, "p90_s": summary.p90, "mad_s": summary.mad, "samples": summary.count}
    if runtime == "TVM" and row.ratio is not None:
        line["ratio_to_baseline"] = row.ratio.value
    return line


def _measurement(row: Row) -> dict[str, Any]:
    task = row.tvm.job.task if row.tvm else None
    return {
        "workload": row.workload,
        "host": row.host,
        "ok": row.ok,
        "error": row.missing or None,
        "answer": row.answer,
        "answer_ok": row.answer_ok,
        "task": task,
        "tvm": _timing(row.tvm),
        "variant": row.variant,
        "tuning": row.tuning,
        "baseline": _timing(row.baseline),
        "baselines": {runtime: _timing(timing) for runtime, timing in row.others.items()},
        "ratio_to_baseline": row.ratio.value if row.ratio else None,
        "ratio_low95": row.ratio.low if row.ratio else None,
        "ratio_high95": row.ratio.high if row.ratio else None,
        "notes": list(row.notes),
    }


def _timing(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
        return None
    job = timing.job
    found: dict[str, Any] = {
        "key": job.key,
        "stack": job.stack,
        "started": job.started,
        "error_kind": job.error_kind,
        "error_message": job.error_message,
        "phases_s": job.phases,
        "differences": job.differences,
        "conditions_before": job.conditions_before,
        "conditions_after": job.conditions_after,
        "samples_s": timing.samples,
    }
    if timing.summary is not None:
        summary = timing.summary
        found |= {"median_s": summary.median, "low95_s": summary.low, "high95_s": summary.high}
        found |= {"min_s": summary.minimum, "p90_s": summary.p90, "max_s": summary.maximum, "mad_s": summary.mad}
    return found


def _compile(timing: Timing) -> dict[str, Any]:
    job = timing.job
    return {
        "workload": job.workload,
        "target": timing.provenance.target,
        "target_name": compile_target(timing),
        "stack": job.stack,
        "ok": job.ok,
        "error_kind": job.error_kind,
        "error_message": job.error_message,
        "phases_s": job.phases,
        "seconds": job.seconds,
        "artifact_bytes": job.artifact_bytes,
        "model_sha256": job.model_sha256,
        "input_sha256": job.input_sha256,
        "artifact_sha256": job.artifact_sha256,
    }
