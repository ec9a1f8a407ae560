"""A report of several variants: each has its row, its tuning and its ratio; all baselines have a column."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tvmops.bench.report.html import html_page
from tvmops.bench.report.markdown import markdown
from tvmops.bench.report.picture import Picture, find_sweep, take_picture
from tvmops.bench.report.tables import as_csv, as_json
from tvmops.bench.report.words import NONE
from tvmops.bench.store import Provenance, Store, utc_now
from tvmops.bench.store_models import JobRow

ORIGIN = Provenance("relay-0.19", {"tvm": "0.19.0", "torch": "2.13"}, {"kind": "llvm", "mcpu": "x"}, None, None)
MEASURE = {"warmup": 3, "repeat": 3, "number": 1, "min_repeat_ms": 50, "threads": 2}
DEFINITION = {
    "name": "variants",
    "description": "Variants of one network",
    "measure": MEASURE,
    "baseline": ["onnxruntime", "torch"],
    "references": [{"label": "tutorial", "source": "page 3", "seconds": {"net": 0.207}}],
    "workloads": [{"name": "net"}],
}
COUNTERS = {
    "gemm_counter": {"counted": 6623232, "expected": None, "difference": None},
    "alu_counter": {"counted": 702464, "expected": 699328, "difference": 0.00448},
}
PROFILE = [
    {"operator": "conv2d", "device": "cpu", "seconds": 0.003, "calls": 2},
    {"operator": "dense", "device": "cpu", "seconds": 0.001, "calls": 1},
]


def row(kind: str, key: str, samples: list[float] | None = None, **values: Any) -> JobRow:
    given: dict[str, Any] = {
        "key": key,
        "kind": kind,
        "workload": "net",
        "host": None,
        "stack": "relay-0.19",
        "ok": True,
    }
    given |= {"started": utc_now(), "seconds": 1.0, "phases": {}, "inputs": {}, "details": {}, "samples": samples}
    return JobRow(**{**given, **values})


def compiled(key: str, tuning: str | None, untuned: int) -> JobRow:
    inputs = {"tuning": {"kind": tuning}} if tuning else {}
    return row("compile", key, inputs=inputs, details={"coverage": {"tasks": 12, "untuned": untuned}})


def measured(compile_key: str, seconds: float, variant: dict[str, str], **details: Any) -> JobRow:
    inputs = {"measure": MEASURE, "compile": compile_key, "variant": variant}
    return row("measure", f"m-{compile_key}", [seconds] * 3, host="board", inputs=inputs, details=details)


@pytest.fixture
def picture(tmp_path: Path) -> Any:
    store = Store(f"sqlite:///{tmp_path / 'results.sqlite'}")
    sweep = store.start_sweep("variants", "sweeps/variants.yml", DEFINITION, 8)
    tasks = [{"name": "conv2d_0", "measured": 5, "reused": 3, "failed": 1, "best_gflops": 12.25}]
    jobs = [
        compiled("plain", None, 12),
        compiled("tuned", "log", 3),
        compiled("hub", "tophub", 12),
        row("tune", "t", inputs={"method": "autotvm"}, details={"tasks": tasks}),
        measured("plain", 0.040, {}, first_run_seconds=0.5, profile=PROFILE),
        measured("tuned", 0.010, {"tuning": "autotvm"}),
        measured("hub", 0.030, {"target": "gpu", "tuning": "tophub"}, counters=COUNTERS),
    ]
    absent = {"ok": False, "error_kind": "Absent", "error_message": "no onnxruntime here"}
    jobs.append(row("baseline", "b1", host="board", inputs={"runtime": "onnxruntime"}, **absent))
    jobs.append(row("baseline", "b2", [0.020] * 3, host="board", inputs={"runtime": "torch"}))
    for job in jobs:
        store.add_job(sweep, job, ORIGIN)
    store.finish_sweep(sweep, "done", 9.0)
    yield take_picture(store, find_sweep(store, "latest"))
    store.close()


def test_each_variant_has_its_number_and_its_tuning(picture: Picture) -> None:
    """The ratio is to the first baseline that has a number."""
    found = {row.variant: (row.tuning, row.ratio and row.ratio.value) for row in picture.rows}
    assert found == {
        "": ("untuned", 2.0),
        "autotvm": ("tuned but for 3 of 12 tasks", 0.5),
        "gpu, tophub": ("untuned: no record fits", 1.5),
    }
    assert picture.first_runtime == "torch"
    assert picture.failures == [], "what is absent has not failed"


def test_markdown_has_all_baselines_references_tasks_and_operators(picture: Picture) -> None:
    """Those that are absent are told."""
    text = markdown(picture)
    assert "| net | board | autotvm | tuned but for 3 of 12 tasks | 10.00 |" in text
    assert "onnxruntime, ms" in text
    assert "| absent |" in text
    assert f"| net | board | {NONE} | 40.00 | 500.0 | 207.0 |" in text, "ours, its cold run, theirs"
    assert "- tutorial: page 3" in text
    assert "| net | x | autotvm | conv2d_0 | 5 | 3 | 1 | 12.2 |" in text
    assert f"| net | board | {NONE} | conv2d | 3.00 | 75% | 2 |" in text
    assert "| net | board | gpu, tophub | alu_counter | 702,464 | 699,328 | +0.45% |" in text
    assert f"| net | board | gpu, tophub | gemm_counter | 6,623,232 | {NONE} | {NONE} |" in text
    assert "times of VTA's simulator" in text
    assert "divides TVM's median by torch's" in text
    assert "TVM's code is untuned" not in text


def test_html_and_data_tell_the_variants_apart(picture: Picture) -> None:
    """A baseline is one line of the CSV, however many variants stand beside it."""
    page = html_page(picture, "the store")
    for part in (
        "tuned but for 3 of 12 tasks",
        "page 3",
        "conv2d_0",
        "Absent on the hosts: onnxruntime",
        "gpu, tophub",
        "702,464",
    ):
        assert part in page
    lines = list(csv.DictReader(io.StringIO(as_csv(picture))))
    assert [line["runtime"] for line in lines] == ["TVM", "onnxruntime", "torch", "TVM", "TVM"]
    assert {line["variant"] for line in lines if line["runtime"] == "TVM"} == {"", "autotvm", "gpu, tophub"}
    data = as_json(picture, None)
    assert set(data["measurements"][0]["baselines"]) == {"onnxruntime", "torch"}
