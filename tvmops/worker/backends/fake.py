"""A backend without TVM: runs linear models with numpy in this very process. For testing the pipeline in seconds.

A workload's `options` bring about what goes wrong with real compilers and boards: `delay` (seconds in build and in
load), `crash_in` (`compile`, `tune` or `measure`: the process aborts), `output_error` (added to every output),
`untunable` (every trial fails).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from ..failures import JobError
from ..prepared import Prepared
from .base import Backend, Board, Built


def create() -> "FakeBackend":
    """The backend."""
    return FakeBackend()


class FakeBackend(Backend):
    """Its library is the model file itself."""

    def __init__(self) -> None:
        self._options: Dict[str, Any] = {}

    def versions(self) -> Dict[str, Optional[str]]:
        """No compiler, so only these."""
        return {"python": platform.python_version(), "numpy": np.__version__, "fake": "1"}

    def import_model(self, prepared: Prepared, options: Dict[str, Any]) -> Path:
        """Linear models only."""
        if prepared.linear is None:
            raise JobError("UnsupportedOperator", "the fake backend runs models of source kind 'generated' only")
        self._options = options
        return prepared.linear

    def tasks(self, module: Path, target: Dict[str, Any], method: str) -> List[Dict[str, Any]]:
        """The one product of a linear model."""
        return [{"name": "dense", "weight": 1}]

    def tune(
        self, module: Path, target: Dict[str, Any], plan: Any, report: Callable[[Dict[str, Any]], None]
    ) -> Dict[str, Any]:
        """Times the product; a line of the log is a trial."""
        _misbehave(self._options, "tune")
        known = len(plan.log.read_text(encoding="utf-8").splitlines()) if plan.log.is_file() else 0
        if self._options.get("untunable"):
            reason = f"all of the first {plan.trials} trials failed: RuntimeError"
            task = {"name": "dense", "trials": plan.trials, "measured": 0, "reused": 0, "failed": plan.trials}
            stopped = [{"task": "dense", "reason": reason}]
            return {"tasks": [task], "measured": 0, "reused": 0, "failures": {"run": plan.trials}, "stopped": stopped}
        board = FakeBoard()
        board.load(module, {"x": np.ones((1, _features(module)), dtype=np.float32)}, 1, {})
        reused, best = min(known, plan.trials), 0.0
        for trial in range(reused, plan.trials):
            seconds = board.measure(1, 10)[0]
            best = max(best, 1e-9 / seconds)
            with plan.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"task": "dense", "seconds": seconds}) + "\n")
            report({"task": 1, "tasks": 1, "name": "dense", "trial": trial + 1, "trials": plan.trials})
        measured = plan.trials - reused
        task = {"name": "dense", "trials": plan.trials, "measured": measured, "reused": reused, "failed": 0}
        return {"tasks": [task], "measured": measured, "reused": reused, "failures": {}, "stopped": []}

    def build(self, module: Path, target: Dict[str, Any], options: Dict[str, Any], tuning: Dict[str, Any]) -> Built:
        """Nothing to do."""
        _misbehave(options, "compile")
        return Built(module, {"tasks": 1, "untuned": 0 if tuning["kind"] == "log" else 1})

    def export(self, built: Built, artifact: Path, cross_compiler: Optional[str]) -> None:
        """A copy."""
        shutil.copyfile(str(built.library), str(artifact))

    def connect(self, rpc: Dict[str, Any], target: Dict[str, Any]) -> "FakeBoard":
        """This process."""
        return FakeBoard()


class FakeBoard(Board):
    """Multiplies matrices."""

    def __init__(self) -> None:
        self._values: Dict[str, np.ndarray] = {}
        self._input = np.zeros((1, 1), dtype=np.float32)
        self._output = self._input
        self._error = 0.0

    def upload(self, artifact: Path) -> None:
        """The library is here already."""

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """Reads the weights."""
        _misbehave(options, "measure")
        with np.load(str(artifact), allow_pickle=False) as stored:
            self._values = {name: stored[name] for name in ("weight", "bias")}
        (self._input,) = inputs.values()
        self._error = float(options.get("output_error", 0.0))

    def run(self) -> float:
        """One product."""
        begin = time.perf_counter()
        self._output = self._input @ self._values["weight"] + self._values["bias"] + np.float32(self._error)
        return time.perf_counter() - begin

    def outputs(self) -> List[np.ndarray]:
        """The one output."""
        return [self._output]

    def warm_up(self, runs: int) -> float:
        """As on a real board."""
        return self._sample(runs)

    def measure(self, repeat: int, number: int) -> List[float]:
        """As on a real board."""
        return [self._sample(number) for _ in range(repeat)]

    def profile(self) -> List[Dict[str, Any]]:
        """Its one operator."""
        return [{"operator": "dense", "device": "cpu", "seconds": self._sample(10), "calls": 1}]

    def _sample(self, number: int) -> float:
        begin = time.perf_counter()
        for _ in range(number):
            self.run()
        return (time.perf_counter() - begin) / number

    def close(self) -> None:
        """Nothing is held."""


def _features(module: Path) -> int:
    with np.load(str(module), allow_pickle=False) as stored:
        return int(stored["weight"].shape[0])


def _misbehave(options: Dict[str, Any], stage: str) -> None:
    time.sleep(float(options.get("delay", 0.0)))
    if options.get("crash_in") == stage:
        os.abort()
