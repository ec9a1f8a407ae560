"""A worker with the backend that needs no TVM, and jobs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_process import WorkerProcess, make_job

WORKLOAD = {"name": "linear", "source": {"kind": "generated", "features": 8, "outputs": 3}, "task": {"kind": "raw"}}
MEASURE = {"warmup": 1, "repeat": 4, "number": 1, "min_repeat_ms": 1, "threads": 1}


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    process = WorkerProcess("fake")
    yield process
    process.close()


@pytest.fixture
def compile_job(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "compile", **changes: Any) -> Path:
        return make_job(
            tmp_path / name, tmp_path / "cache", "compile", {**WORKLOAD, **changes}, target={"kind": "fake"}
        )

    return make


@pytest.fixture
def measure_job(tmp_path: Path) -> Callable[..., Path]:
    def make(compiled: Path, name: str = "measure", settings: dict[str, Any] | None = None, **changes: Any) -> Path:
        return make_job(
            tmp_path / name,
            tmp_path / "cache",
            "measure",
            {**WORKLOAD, **changes},
            artifact=str(compiled / "model.so"),
            reference=str(compiled / "reference.npz"),
            measure={**MEASURE, **(settings or {})},
        )

    return make
