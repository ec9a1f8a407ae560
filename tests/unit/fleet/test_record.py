"""Run records on the controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmops.fleet.record import new_run_folder


def test_names_of_runs_sort_by_time_within_a_second_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path))
    names = [new_run_folder().name for _ in range(20)]
    assert names == sorted(names)
