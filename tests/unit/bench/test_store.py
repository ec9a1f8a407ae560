"""The results store: what goes in comes out, in one piece, and only if this version can read it."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from tvmops.bench.store import Provenance, Store, utc_now
from tvmops.bench.store_models import SCHEMA_VERSION, JobRow
from tvmops.errors import StoreError

PROVENANCE = Provenance("fake-1", {"tvm": "0.27"}, {"kind": "llvm"}, {"ansible_machine": "x86_64"}, "abc", False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'results.sqlite'}"


def job(key: str, **values: object) -> JobRow:
    row = {
        "key": key,
        "kind": "measure",
        "workload": "one",
        "host": "a",
        "stack": "fake-1",
        "ok": True,
        "started": utc_now(),
        "seconds": 1.5,
        "phases": {"upload": 0.25},
        "inputs": {"x": 1},
        "samples": [0.001, 0.002],
        "details": {},
    }
    return JobRow(**{**row, **values})


def test_a_job_comes_back_as_it_went_in(url: str) -> None:
    """With its provenance, from another process's point of view."""
    store = Store(url)
    sweep = store.start_sweep("s", "s.yml", {"name": "s"}, 3)
    given_job = {"task": {"ok": True, "answer": "tvm\u00f6ps"}, "conditions_before": {"loadavg": [0.1, 0.2, 0.3]}}
    store.add_job(sweep, job("k", **given_job), PROVENANCE)
    store.finish_sweep(sweep, "done", 12.5)
    store.close()
    again = Store(url)
    ((found, origin, reused),) = again.jobs(sweep)
    assert (found.samples, found.phases, found.task) == ([0.001, 0.002], {"upload": 0.25}, given_job["task"])
    assert found.conditions_before == given_job["conditions_before"]
    assert (origin.versions, origin.target, origin.git_commit) == ({"tvm": "0.27"}, {"kind": "llvm"}, "abc")
    assert not reused
    (row,) = again.sweeps("s")
    assert (row.status, row.seconds, row.planned) == ("done", 12.5, 3)
    again.close()


@given(st.lists(st.floats(min_value=1e-9, max_value=1e6, allow_nan=False), min_size=1, max_size=50))
@settings(max_examples=20, deadline=None)
def test_samples_keep_every_bit(values: list[float]) -> None:
    """Raw means raw."""
    store = Store("sqlite:///:memory:")
    sweep = store.start_sweep("s", "s.yml", {}, 1)
    store.add_job(sweep, job("k", samples=values), PROVENANCE)
    assert store.stored(["k"])["k"].samples == values
    store.close()


def test_the_newest_good_result_of_a_key_counts(url: str) -> None:
    """Failed jobs are kept, and run again."""
    store = Store(url)
    sweep = store.start_sweep("s", "s.yml", {}, 1)
    store.add_job(sweep, job("failed", ok=False, error_kind="Rpc", error_message="dead"), PROVENANCE)
    store.add_job(sweep, job("twice", seconds=1.0), PROVENANCE)
    newer = store.add_job(sweep, job("twice", seconds=2.0), PROVENANCE)
    store.add_job(sweep, job("twice", ok=False), PROVENANCE)
    found = store.stored(["failed", "twice", "unknown"])
    assert {key: row.id for key, row in found.items()} == {"twice": newer}
    store.close()


def test_reused_jobs_belong_to_both_runs(url: str) -> None:
    """So that a report of the second run is whole."""
    store = Store(url)
    first = store.start_sweep("s", "s.yml", {}, 1)
    number = store.add_job(first, job("k"), PROVENANCE)
    second = store.start_sweep("s", "s.yml", {}, 1)
    store.reuse_jobs(second, [number, number])
    assert [(row.id, reused) for row, _, reused in store.jobs(second)] == [(number, True)]
    assert [reused for _, _, reused in store.jobs(first)] == [False]
    store.close()


def test_many_threads_and_two_stores_write_at_once(url: str) -> None:
    """Nothing is lost, and nobody is told that the database is locked."""
    stores = [Store(url), Store(url)]
    sweep = stores[0].start_sweep("s", "s.yml", {}, 1)
    errors: list[BaseException] = []

    def write(store: Store, lane: int) -> None:
        try:
            for number in range(15):
                store.add_job(sweep, job(f"{lane}-{number}"), Provenance("fake-1", {"n": number}))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(stores[lane % 2], lane)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(stores[1].jobs(sweep)) == 60
    for store in stores:
        store.close()


def test_a_job_is_stored_whole_or_not_at_all(url: str) -> None:
    """A row that cannot be stored leaves no provenance, no link."""
    store = Store(url)
    sweep = store.start_sweep("s", "s.yml", {}, 1)
    with pytest.raises(StoreError):
        store.add_job(sweep + 99, job("k"), PROVENANCE)
    assert store.stored(["k"]) == {}
    store.add_job(sweep, job("k"), PROVENANCE)
    assert len(store.jobs(sweep)) == 1
    store.close()


def test_a_newer_file_is_refused_with_what_to_do(url: str, tmp_path: Path) -> None:
    """and left alone."""
    Store(url).close()
    connection = sqlite3.connect(tmp_path / "results.sqlite")
    connection.execute("update schema_version set version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"written by a newer tvmops \(results version 99") as caught:
        Store(url)
    assert caught.value.exit_code == 11
    assert "update tvmops" in caught.value.hint


def test_an_older_file_is_migrated_and_keeps_its_rows(url: str) -> None:
    """Step by step, each in the same transaction as its version number."""
    store = Store(url)
    sweep = store.start_sweep("s", "s.yml", {}, 1)
    store.add_job(sweep, job("k"), PROVENANCE)
    store.close()
    steps: list[int] = []

    def step(number: int) -> None:
        steps.append(number)

    def add_column(connection: Connection) -> None:
        step(SCHEMA_VERSION)
        connection.execute(text("alter table jobs add column verdict text"))

    def fill(connection: Connection) -> None:
        step(SCHEMA_VERSION + 1)
        connection.execute(text("update jobs set verdict = 'valid'"))

    migrations = {SCHEMA_VERSION: add_column, SCHEMA_VERSION + 1: fill}
    newer = Store(url, version=SCHEMA_VERSION + 2, migrations=migrations)
    assert steps == [SCHEMA_VERSION, SCHEMA_VERSION + 1]
    assert newer.stored(["k"])["k"].samples == [0.001, 0.002]
    newer.close()
    Store(url, version=SCHEMA_VERSION + 2, migrations=migrations).close()
    assert len(steps) == 2
    with pytest.raises(StoreError, match="newer tvmops"):
        Store(url)


def test_a_migration_that_fails_changes_nothing(url: str) -> None:
    """The file stays readable for the version that wrote it."""
    Store(url).close()

    def half(connection: Connection) -> None:
        connection.execute(text("alter table jobs add column verdict text"))
        connection.execute(text("update no_such_table set x = 1"))

    with pytest.raises(StoreError, match="no_such_table"):
        Store(url, version=SCHEMA_VERSION + 1, migrations={SCHEMA_VERSION: half})
    store = Store(url)
    sweep = store.start_sweep("s", "s.yml", {}, 1)
    store.add_job(sweep, job("k"), PROVENANCE)
    store.close()


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("not a url", "SQLAlchemy URL"),
        ("nosuchdb://x/y", "SQLAlchemy URL"),
        ("sqlite:////proc/no/results.sqlite", "writable"),
    ],
)
def test_a_store_that_cannot_be_opened_says_so(url: str, part: str) -> None:
    """With the URL that was given and a hint."""
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert url in caught.value.message
    assert part in caught.value.hint


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    """Instead of a traceback."""
    path = tmp_path / "results.sqlite"
    path.write_text("this is no database, and it is long enough to look at" * 10)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{path}")
