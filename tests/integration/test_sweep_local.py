"""Whole sweeps on local hosts through the command line and real worker processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import processes
import psutil
import pytest

DRIVER = Path(__file__).with_name("sweep_driver.py")
TARGET = {"kind": "llvm", "num-cores": 1}
DEADLINE = 60.0


class Project:
    """A folder with an inventory and a sweep, and the program run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.environment = {
            **os.environ,
            "TVMOPS_STATE": str(self.state),
            "TVMOPS_CACHE": str(folder / "cache"),
            "COLUMNS": "200",
        }
        self.hosts({"one": {}, "two": {}})

    def hosts(self, hosts: dict[str, dict[str, Any]]) -> None:
        """Local hosts that share this processor, with further variables."""
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "tvm_target": TARGET,
            "tvmops_shares_cpu": True,
        }
        inventory = {"all": {"vars": shared, "hosts": hosts}}
        (self.folder / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")

    def sweep(self, workloads: Sequence[dict[str, Any]], **more: Any) -> None:
        """A sweep file with the fake stack."""
        document = {
            "name": "tiny",
            "stack": "fake-1",
            "baseline": "none",
            "measure": {"warmup": 1, "repeat": 5, "min_repeat_ms": 1},
            "workloads": [{"source": {"kind": "generated", "seed": i}, **item} for i, item in enumerate(workloads)],
            **more,
        }
        (self.folder / "tiny.yml").write_text(json.dumps(document), encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The program, running."""
        return subprocess.Popen(
            [sys.executable, str(DRIVER), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, rc: int = 0) -> tuple[str, str]:
        """Run the program to its end; what it printed on stdout and stderr."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == rc, f"rc {process.returncode}\n{out}\n{err}"
        return out, err

    def run_sweep(self, *arguments: str, rc: int = 0) -> tuple[str, str]:
        """Run the sweep."""
        return self.run("sweep", "tiny.yml", "-i", "hosts.yml", *arguments, rc=rc)

    def events(self, *arguments: str, rc: int = 0) -> list[dict[str, Any]]:
        """Run the sweep with --json."""
        return [json.loads(line) for line in self.run_sweep("--json", *arguments, rc=rc)[0].splitlines()]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the store."""
        connection = sqlite3.connect(self.state / "results.sqlite")
        try:
            return list(connection.execute(query))
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Worker processes of this project that are alive."""

        def works_here(process: psutil.Process) -> bool:
            values = process.environ().values()
            return "--status-fd" in process.cmdline() and any(str(self.state) in value for value in values)

        return processes.that(works_here)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    assert wait_until(lambda: not made.workers(), 10.0), "worker processes were left behind"


def wait_until(condition: Any, seconds: float) -> bool:
    """Whether `condition()` became true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def test_a_sweep_from_first_run_to_results(project: Project) -> None:
    """Everything is measured, stored with its provenance, and not run again."""
    project.sweep([{"name": "a", "description": "the first"}, {"name": "b"}])
    out, _ = project.run_sweep()
    assert "sweep tiny on one, two: 2 compile, 4 measure" in out
    assert "[6/6] measure b on " in out
    assert "done after" in out
    made = {path: path.stat().st_mtime_ns for path in (project.state / "jobs").rglob("*")}

    started = time.monotonic()
    out, _ = project.run_sweep()
    assert "nothing to do; 6 of 6 jobs are stored already" in out
    assert time.monotonic() - started < 10.0
    assert {path: path.stat().st_mtime_ns for path in (project.state / "jobs").rglob("*")} == made
    assert project.rows("select count(*) from jobs") == [(6,)]

    found = json.loads(project.run("results", "--json")[0])
    assert [(row["workload"], row["host"], row["ok"]) for row in found["measurements"]] == [
        ("a", "one", True),
        ("a", "two", True),
        ("b", "one", True),
        ("b", "two", True),
    ]
    first = found["measurements"][0]
    assert len(first["tvm"]["samples_s"]) == 5
    assert 0 < first["tvm"]["min_s"] <= first["tvm"]["median_s"] < 1
    assert first["answer_ok"] is True
    assert first["tvm"]["conditions_before"]["cpus"]
    assert found["hosts"]["one"]["ansible_machine"] == os.uname().machine
    assert "ansible_env" not in found["hosts"]["one"]
    assert found["versions"]["fake"] == "1"
    assert found["report"] is None
    assert len({compiled["artifact_sha256"] for compiled in found["compiles"]}) == 2


def test_options_narrow_and_repeat(project: Project) -> None:
    """--limit, --workload, --repeat and --force change what is run, and nothing else."""
    project.sweep([{"name": "a1"}, {"name": "a2"}, {"name": "b"}])
    out, _ = project.run_sweep("--limit", "one", "--workload", "a*", "--repeat", "7")
    assert "2 compile, 2 measure" in out
    assert {len(json.loads(samples)) for (samples,) in project.rows("select samples from jobs where host = 'one'")} == {
        7
    }
    out, _ = project.run_sweep("--limit", "one", "--workload", "a1,b")
    assert "1 compile, 2 measure; 1 of 4 jobs are stored already" in out
    out, _ = project.run_sweep("--limit", "one", "--workload", "b", "--force")
    assert "1 compile, 1 measure" in out
    _, err = project.run_sweep("--workload", "c*", rc=5)
    assert "--workload c*: no such workload" in err
    _, err = project.run_sweep("--limit", "three", rc=5)
    assert "three" in err


def test_compiled_artifacts_are_found_again(project: Project) -> None:
    """With another store, or more hosts, what was compiled before is used; a damaged artifact is not."""
    project.sweep([{"name": "a", "options": {"delay": 0.3}}])
    project.run_sweep("--limit", "one")
    events = project.events("--store", f"sqlite:///{project.folder}/other.sqlite", "--limit", "one")
    assert [(e["kind"], e["reused"]) for e in events if e["event"] == "job_done"] == [
        ("compile", True),
        ("measure", False),
    ]
    (artifact,) = project.state.glob("jobs/*/model.so")
    artifact.write_bytes(artifact.read_bytes()[:100])
    events = project.events()
    assert [(e["kind"], e["host"], e["reused"]) for e in events if e["event"] == "job_done"] == [
        ("compile", None, False),
        ("measure", "two", False),
    ]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_goes_on_where_it_stopped(project: Project, sent: signal.Signals) -> None:
    """Ctrl-C in the middle of a job: the worker is gone, what ended is stored, and only the rest is run next time."""
    project.sweep([{"name": name, "options": {"delay": 0.6}} for name in "abc"])
    process = project.start("sweep", "tiny.yml", "-i", "hosts.yml", "--json")
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        event = json.loads(line)
        seen.append(event["event"])
        if event["event"] == "job_start" and "job_done" in seen:
            break
    os.kill(process.pid, sent)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "sweep 'tiny' stopped: " in err
    assert "of 9 jobs are stored" in err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert wait_until(lambda: not project.workers(), 10.0)
    ((before, failed),) = project.rows("select count(*), sum(not ok) from jobs")
    assert 1 <= before < 9
    assert not failed
    assert project.rows("select status from sweeps") == [("interrupted",)]

    events = project.events()
    assert events[0]["stored"] == before
    assert sum(e["event"] == "job_done" for e in events) == 9 - before
    assert project.rows("select count(*), count(distinct key) from jobs") == [(9, 9)]
    assert project.rows("select status from sweeps order by id") == [("interrupted",), ("done",)]
    rows = json.loads(project.run("results", "--json")[0])["measurements"]
    assert sum(row["ok"] for row in rows) == 6


def test_killed_outright_it_goes_on_as_well(project: Project) -> None:
    """kill -9 leaves no worker behind and no half result."""
    project.sweep([{"name": name, "options": {"delay": 0.6}} for name in "ab"])
    process = project.start("sweep", "tiny.yml", "-i", "hosts.yml", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "job_done":
            break
    process.kill()
    process.communicate()
    assert wait_until(lambda: not project.workers(), 10.0)
    events = project.events()
    assert events[0]["stored"] >= 1
    assert events[-1]["stored"] == events[-1]["planned"] == 6


def test_jobs_that_crash_or_fail_do_not_stop_the_others(project: Project) -> None:
    """Each is named with its reason at the end, the exit code is 10, and the report shows them."""
    project.sweep(
        [
            {"name": "good"},
            {"name": "breaks", "options": {"crash_in": "compile"}},
            {"name": "dies", "options": {"crash_in": "measure"}},
            {"name": "wrong", "options": {"output_error": 0.5}},
            {"name": "strange", "source": {"kind": "telepathy"}},
            {"name": "last"},
        ]
    )
    project.hosts({"one": {}})
    out, err = project.run_sweep(rc=10)
    assert "sweep 'tiny': 4 of 12 jobs failed, 6 are stored" in err
    assert "compile breaks for llvm: Crash: the worker ended in the middle of the job: it was killed by SIGABRT" in err
    assert "not run because of it: measure breaks on one" in err
    assert "measure dies on one: Crash" in err
    assert "measure wrong on one: WrongOutput" in err
    assert "compile strange for llvm: BadInput: unknown source kind 'telepathy'" in err
    assert "measure last on one: median" in out
    assert "Traceback" not in err
    project.run("report", "--output", "report")
    page = (project.folder / "report" / "report.html").read_text(encoding="utf-8")
    for part in ("What failed", "unknown source kind", "SIGABRT", "compile failed: Crash"):
        assert part in page
    # Failed jobs are tried again, stored ones are not.
    events = project.events(rc=10)
    assert events[0]["stored"] == 6
    assert events[0]["todo"] == {"tune": 0, "compile": 2, "measure": 4, "baseline": 0}


def test_a_job_that_hangs_is_ended_at_its_deadline(project: Project) -> None:
    """By killing its worker; the next job gets a new one."""
    project.sweep([{"name": "slow", "options": {"delay": 60}}, {"name": "good"}], timeouts={"compile": 1.0})
    project.hosts({"one": {}})
    out, err = project.run_sweep(rc=10)
    assert "compile slow for llvm: Timeout: took longer than 1 s (timeouts.compile in the sweep file)" in err
    assert "measure good on one: median" in out


def test_an_unreachable_host_does_not_stop_the_others(project: Project) -> None:
    """Its jobs fail with the reason, once; the other hosts are measured."""
    project.hosts({"one": {}, "gone": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}})
    project.sweep([{"name": "a"}, {"name": "b"}])
    _, err = project.run_sweep(rc=10)
    assert "measure a on gone: HostUnreachable: gone" in err
    assert "not run because of it: measure b on gone" in err
    rows = json.loads(project.run("results", "--json")[0])["measurements"]
    assert [row["workload"] for row in rows if row["host"] == "one" and row["ok"]] == ["a", "b"]


def test_two_sweeps_at_once_take_turns_on_a_board(project: Project) -> None:
    """The second says who holds the board, waits, and both end well."""
    project.hosts({"one": {}})
    project.sweep([{"name": "a", "options": {"delay": 2}}])
    first = project.start("sweep", "tiny.yml", "-i", "hosts.yml", "--json")
    assert first.stdout is not None
    for line in first.stdout:
        event = json.loads(line)
        if event["event"] == "job_start" and event["kind"] == "measure":
            break
    events = project.events("--store", f"sqlite:///{project.folder}/other.sqlite")
    _, err = first.communicate(timeout=DEADLINE)
    assert first.returncode == 0, err
    waiting = " ".join(e["text"] for e in events if e["event"] == "waiting")
    assert "another sweep uses this machine's processor" in waiting or f"(pid {first.pid} on " in waiting
    assert events[-1]["status"] == "done"


def test_what_cannot_work_is_refused_before_anything_runs(project: Project) -> None:
    """Impossible pairs, unknown hosts, a wrong sweep file: exit code 5, nothing stored."""
    project.hosts({"one": {"tvm_stack": "relay-0.8"}, "two": {"tvm_target": "llvm -mcpu=x"}})
    project.sweep([{"name": "a"}])
    _, err = project.run_sweep(rc=5)
    assert "one carries stack 'relay-0.8'" in err
    assert "two: 'tvm_target' must be a mapping" in err
    _, err = project.run_sweep("--host", "tree", rc=5)
    assert "no host or group matches 'tree'" in err
    (project.folder / "tiny.yml").write_text("workloads: [{nmae: a, source: {kind: generated}}]")
    _, err = project.run_sweep(rc=5)
    assert "tiny.yml:1:14: unknown workload key 'nmae'" in err
    assert not (project.state / "jobs").exists()


def test_results_of_a_newer_version_are_not_touched(project: Project) -> None:
    """Exit code 11 from sweep, results and report."""
    project.sweep([{"name": "a"}])
    project.run_sweep()
    connection = sqlite3.connect(project.state / "results.sqlite")
    connection.execute("update schema_version set version = 99")
    connection.commit()
    connection.close()
    for command in (["results"], ["report"], ["sweep", "tiny.yml", "-i", "hosts.yml"]):
        _, err = project.run(*command, rc=11)
        assert "written by a newer tvmops" in err
