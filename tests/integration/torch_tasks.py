"""Run in the environment of relax-0.27 with extra torch: prints what MetaSchedule finds to tune in a torch network."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from worker_package import load_worker


class Network(torch.nn.Module):  # type: ignore[misc]
    """Layers whose operators the exporter leaves to be decomposed, and parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.dense = torch.nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.relu(self.norm(self.convolution(x))).flatten(1))


def main() -> None:
    load_worker()
    backend = importlib.import_module("tvmops_worker.backends").load_backend("relax")
    prepared = importlib.import_module("tvmops_worker.prepared").Prepared
    program = Path(sys.argv[1])
    torch.export.save(torch.export.export(Network().eval(), (torch.zeros(1, 4, 8, 8),)), str(program))
    module = backend.import_model(prepared(["x"], ["y"], exported_program=program), {})
    tasks = backend.tasks(module, {"kind": "llvm", "num-cores": 2}, "meta_schedule")
    print(json.dumps([task["name"] for task in tasks]))


if __name__ == "__main__":
    main()
