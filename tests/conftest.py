"""Rules for all tests: every test keeps its state in its own folder; in CI a skipped test is a failure."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

_SKIPPED: list[str] = []

# A shell starts background jobs with Ctrl-C ignored, and every program inherits that: tests of Ctrl-C want the usual.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Under `make test` a make that a test starts would take itself for a part of it.
for _name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "tvmops-state"))
    monkeypatch.setenv("TVMOPS_AGENT_STATE", str(tmp_path / "agent-state"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _SKIPPED.append(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if os.environ.get("CI") and _SKIPPED and exitstatus == pytest.ExitCode.OK:
        print(f"\nskipped in CI, which counts as failed: {', '.join(_SKIPPED)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
