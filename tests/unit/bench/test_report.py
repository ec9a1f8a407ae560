"""Reports of a store: the numbers in them are the store's, whole, safe and readable without a network."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tvmops.bench.report.html import html_page
from tvmops.bench.report.markdown import markdown
from tvmops.bench.report.picture import Picture, find_sweep, take_picture
from tvmops.bench.report.tables import as_csv, as_json
from tvmops.bench.report.words import duration, milliseconds, size
from tvmops.bench.report.write import write_report
from tvmops.bench.store import Provenance, Store, utc_now
from tvmops.bench.store_models import JobRow
from tvmops.errors import ConfigError, TvmopsError

SLOW = [0.0123, 0.0125, 0.0124, 0.0126, 0.0122, 0.0124, 0.0124, 0.0125, 0.0123, 0.0124]
FAST = [value / 4 for value in SLOW]
ORIGIN = Provenance(
    "relax-0.27", {"tvm": "0.27.0", "numpy": "2.2.6"}, {"kind": "llvm", "mcpu": "cortex-a57"}, None, "a" * 40
)
BOARD = Provenance(
    "relax-0.27", {"onnxruntime": "1.31"}, {"kind": "llvm"}, {"ansible_machine": "aarch64"}, "a" * 40, True
)
DEFINITION = {
    "name": "night",
    "description": "Two <models>",
    "measure": {"warmup": 3, "repeat": 10, "number": 1, "min_repeat_ms": 50, "threads": None},
    "workloads": [
        {"name": "ocr", "task": {"kind": "text"}, "description": "must read"},
        {"name": "net", "task": {"kind": "raw"}},
        {"name": "odd"},
    ],
}


def row(kind: str, workload: str, host: str | None, **values: Any) -> JobRow:
    given = {
        "key": f"{kind}-{workload}-{host}",
        "kind": kind,
        "workload": workload,
        "host": host,
        "stack": "relax-0.27",
        "ok": True,
        "started": utc_now(),
        "seconds": 2.0,
        "phases": {"compile": 1.25, "export": 0.5} if kind == "compile" else {"measure": 0.5},
        "inputs": {"measure": {"warmup": 3, "repeat": 10, "number": 1, "min_repeat_ms": 50, "threads": 2}},
        "details": {"shares_cpu": True} if host else {},
    }
    return JobRow(**{**given, **values})


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = Store(f"sqlite:///{tmp_path / 'results.sqlite'}")
    sweep = store.start_sweep("night", "sweeps/night.yml", DEFINITION, 8)
    answer = {"ok": True, "answer": "tvmops <b>42</b>", "expected": "tvmops <b>42</b>"}
    for name in ("ocr", "net"):
        made = row("compile", name, None, artifact_bytes=2_345_678, artifact_sha256="b" * 64)
        store.add_job(sweep, made, ORIGIN)
        store.add_job(sweep, row("measure", name, "nano", samples=SLOW, task=answer if name == "ocr" else None), BOARD)
        store.add_job(sweep, row("baseline", name, "nano", samples=FAST), BOARD)
    failed = {"ok": False, "error_kind": "UnsupportedOperator", "error_message": "TVM lacks <Loop> & more"}
    store.add_job(sweep, row("compile", "odd", None, **failed), ORIGIN)
    store.finish_sweep(sweep, "failed", 93.0)
    yield store
    store.close()


@pytest.fixture
def picture(store: Store) -> Picture:
    return take_picture(store, find_sweep(store, "latest"))


class _Texts(HTMLParser):
    """The visible text of a page, and every address in it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "br", "link", "path", "use", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data


def read(page: str) -> _Texts:
    parser = _Texts()
    parser.feed(page)
    parser.text = re.sub(r"\s+", " ", parser.text)
    return parser


def test_the_page_has_the_numbers_and_the_answers(picture: Picture) -> None:
    """Medians, intervals, ratio, what the model read, what failed and why."""
    page = read(html_page(picture, "the store"))
    for part in (
        "Two <models>",
        "12.40",
        "3.10",
        "4.00\u00d7",
        "read \u201ctvmops <b>42</b>\u201d",
        "compile failed: UnsupportedOperator",
        "TVM lacks <Loop> & more",
        "2.3 MB",
        "cortex-a57",
        "1 of 1",
        "TVM 0.27.0",
        "onnxruntime 1.31",
        "aaaaaaaaaaaa with local changes",
        "they say nothing about any real board",
        "1 min 33 s",
        "2 threads",
    ):
        assert part in page.text, part


def test_the_page_needs_nothing_else(picture: Picture) -> None:
    """No address leads out of it, no script runs, and the plots are in it."""
    page = html_page(picture, "the store")
    assert all(address.startswith("#") for address in read(page).addresses)
    assert "<script" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    assert page.count("<svg") == 2
    ids = re.findall(r'\sid="([^"]+)"', page)
    repeated = {name for name in ids if ids.count(name) > 1 and not name.startswith(("figure_", "axes_", "patch_"))}
    clips = set(re.findall(r"url\(#([^)]+)\)", page)) | {a[1:] for a in read(page).addresses}
    assert not clips & repeated


def test_markdown_and_csv_have_the_same_numbers(picture: Picture) -> None:
    """Seconds for programs, milliseconds for people."""
    text = markdown(picture)
    assert "| ocr | nano | 12.40 |" in text
    assert "| 4.00\u00d7 | \u2713 read" in text
    assert "**Failed: compile odd: UnsupportedOperator**" in text
    lines = list(csv.DictReader(io.StringIO(as_csv(picture))))
    by_name = {(line["workload"], line["runtime"]): line for line in lines}
    assert float(by_name["ocr", "TVM"]["median_s"]) == 0.0124
    assert float(by_name["ocr", "TVM"]["ratio_to_baseline"]) == 4.0
    assert by_name["ocr", "onnxruntime"]["median_s"] == "0.0031"
    assert by_name["odd", "TVM"]["error_kind"] == "compile failed: UnsupportedOperator"


def test_json_has_the_raw_samples(picture: Picture) -> None:
    """and what `make demo` sums up."""
    found = json.loads(json.dumps(as_json(picture, "/x/report.html")))
    ocr, net, odd = found["measurements"]
    assert ocr["tvm"]["samples_s"] == SLOW
    assert (ocr["ok"], ocr["answer_ok"], ocr["ratio_to_baseline"]) == (True, True, 4.0)
    assert (net["ok"], net["answer_ok"]) == (True, None)
    assert (odd["ok"], odd["error"]) == (False, "compile failed: UnsupportedOperator")
    assert found["report"] == "/x/report.html"


def test_wide_and_strange_texts_break_no_table(store: Store) -> None:
    """Pipes and line breaks in an answer stay inside their cell."""
    sweep = store.start_sweep("wild", "x.yml", {**DEFINITION, "workloads": [{"name": "ocr"}]}, 1)
    task = {"ok": False, "answer": "a|b\nc", "expected": "x"}
    store.add_job(sweep, row("measure", "ocr", "nano", samples=SLOW, task=task), BOARD)
    picture = take_picture(store, find_sweep(store, "wild"))
    line = next(line for line in markdown(picture).splitlines() if line.startswith("| ocr"))
    assert "wrong: gave a\\|b c |" in line
    assert "wrong:" in read(html_page(picture, "x")).text
    assert "still running" in markdown(picture)


def test_a_sweep_without_results_still_has_a_report(store: Store) -> None:
    """Interrupted before the first job ended."""
    sweep = store.start_sweep("empty", "x.yml", DEFINITION, 3)
    store.finish_sweep(sweep, "interrupted", 0.5)
    picture = take_picture(store, find_sweep(store, "empty"))
    assert "This sweep was interrupted" in read(html_page(picture, "x")).text


def test_sweeps_are_found_by_name_number_or_as_the_latest(store: Store) -> None:
    """The newest of a name; an unknown name is answered with the nearest."""
    first = find_sweep(store, "night").id
    second = store.start_sweep("night", "sweeps/night.yml", DEFINITION, 7)
    other = store.start_sweep("day", "sweeps/day.yml", DEFINITION, 7)
    assert find_sweep(store, "night").id == second
    assert find_sweep(store, "latest").id == other
    assert find_sweep(store, str(first)).id == first
    with pytest.raises(ConfigError, match="did you mean 'night'"):
        find_sweep(store, "nihgt")


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    """Measure first."""
    empty = Store(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with pytest.raises(ConfigError, match="no results yet"):
        find_sweep(empty, "latest")
    empty.close()


def test_files_are_written_where_asked(picture: Picture, tmp_path: Path) -> None:
    """Three of them; a folder that cannot be made is an error with its name."""
    written = write_report(picture, tmp_path / "out", "the store")
    assert [path.name for path in written] == ["report.html", "report.md", "results.csv"]
    assert all(path.stat().st_size > 500 for path in written)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TvmopsError, match="cannot write"):
        write_report(picture, tmp_path / "file" / "out", "the store")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00000123, "0.001"), (0.0012345, "1.23"), (0.0123, "12.30"), (0.1234, "123.4"), (12.3456, "12,346")],
)
def test_milliseconds_keep_about_three_digits(seconds: float, text: str) -> None:
    """Never an exponent."""
    assert milliseconds(seconds) == text


def test_durations_and_sizes() -> None:
    """For people."""
    assert [duration(value) for value in (0.25, 59.94, 60, 3700)] == ["0.2 s", "59.9 s", "1 min 00 s", "1 h 01 min"]
    assert [size(value) for value in (None, 1500, 2_345_678)] == ["\u2013", "2 kB", "2.3 MB"]
