"""An emulated arm64 board: provisioned, and given code compiled here for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_helpers import Commands, shell

from tvmops.lab import Lab

pytestmark = pytest.mark.timeout(600)


def test_a_model_compiled_here_runs_on_an_arm64_board(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real cross compiler, real RPC; and the end of a lab elsewhere takes nothing away from the board."""
    lab.up(["a1"], arch="arm64")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TVMOPS_LAB_DIR", str(tmp_path / "labs"))
        Lab(f"v{lab.id}").down(purge=True)
    assert shell(lab, "a1", "sudo -n id -u", user="admin") == "0"
    commands = Commands(lab, tmp_path / "state")
    commands.on("provision", "--host", "a1")
    assert "changed=0 " in commands.on("provision", "--host", "a1")
    done = commands.on("sweep", "sweeps/smoke.yml", "--host", "a1", "--workload", "ocr_cls")
    assert "2 of 2 jobs stored" in done
    (row,) = json.loads(commands("results", "--json"))["measurements"]
    assert row["ok"] and row["answer_ok"], row
    assert len(row["tvm"]["samples_s"]) == 3
    report = Path(commands("report").split()[0]).read_text()
    assert "the processor is emulated" in report
