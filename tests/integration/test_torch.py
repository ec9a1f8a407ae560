"""A torch network on real TVM: EfficientNet-Lite0 with its ImageNet weights must see the cat."""

from __future__ import annotations

from pathlib import Path

import pytest
from relax_jobs import Jobs, rpc_server, stack_python, workload


@pytest.mark.timeout(900)
def test_efficientnet_sees_a_cat(tmp_path: Path) -> None:
    python = stack_python("torch")
    document = workload("efficientnet_lite0", "efficientnet")
    with rpc_server(python) as port:
        jobs = Jobs(tmp_path, python, port)
        try:
            compiled = jobs.compile("cat", document)
            assert compiled["ok"], compiled
            assert compiled["versions"]["torch"]
            measured = jobs.measure("cat", document)
            assert measured["ok"], measured
            baseline = jobs.baseline("cat")
            assert baseline["ok"], baseline
        finally:
            jobs.worker.close()
    top = [int(entry.split()[0]) for entry in measured["task_check"]["answer"].split(", ")]
    assert top[0] in range(281, 288), "the board sees a cat"
    assert len(set(top) & set(range(281, 288))) >= 3
    assert max(found["max_abs"] for found in measured["differences"].values()) < 1e-4
