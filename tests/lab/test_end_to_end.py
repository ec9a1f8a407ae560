"""The whole way by the command line: bare boards, provisioned, measured, reported, given back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_helpers import Commands, shell

from tvmops.lab import Lab

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def commands(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Commands on two provisioned boards of their own: the lab's others stay bare."""
    lab.up(["e1", "e2"])
    commands = Commands(lab, tmp_path_factory.mktemp("state"))
    commands.on("provision", "--host", "e1,e2")
    yield commands


def test_a_sweep_gives_right_answers_and_is_not_run_twice(commands: Commands) -> None:
    first = commands.on("sweep", "sweeps/smoke.yml", "--host", "e1,e2", "--workload", "ocr_cls,magika", "--repeat", "3")
    assert "10 of 10 jobs stored" in first
    results = json.loads(commands("results", "--json"))
    assert {(row["workload"], row["host"]) for row in results["measurements"]} == {
        (workload, host) for workload in ("ocr_cls", "magika") for host in ("e1", "e2")
    }
    for row in results["measurements"]:
        assert row["ok"] and row["answer_ok"], row
        assert row["ratio_to_baseline"] > 0
        assert len(row["tvm"]["samples_s"]) == 3
    again = commands.on("sweep", "sweeps/smoke.yml", "--host", "e1,e2", "--workload", "ocr_cls,magika", "--repeat", "3")
    assert "nothing to do" in again
    report = Path(commands("report").split()[0])
    page = report.read_text()
    assert "180 degrees" in page and "python" in page
    assert not re.search(r"(src|href)=\"https?://", page)


def test_package_sources_come_back_as_they_were(lab: Lab, commands: Commands) -> None:
    assert lab.cache.variables()["apt_mirror"] in shell(lab, "e2", "cat /etc/apt/sources.list")
    commands.on("provision", "--host", "e2", "--restore")
    assert "deb.debian.org" in shell(lab, "e2", "cat /etc/apt/sources.list")
    assert shell(lab, "e2", "test -e /etc/pip.conf || echo gone") == "gone"
    commands.on("provision", "--host", "e2")
    assert lab.cache.variables()["apt_mirror"] in shell(lab, "e2", "cat /etc/apt/sources.list")
