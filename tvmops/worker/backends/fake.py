"""A backend without TVM: runs linear models with numpy in this very process. For testing the pipeline in seconds.

A workload's `options` bring about what goes wrong with real compilers and boards: `delay` (seconds in build and in
load), `crash_in` (`compile` or `measure`: the process aborts), `output_error` (added to every output).
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from ..failures import JobError
from ..prepared import Prepared
from .base import Backend, Board


def create() -> "FakeBackend":
    """The backend."""
    return FakeBackend()


class FakeBackend(Backend):
    """Its library is the model file itself."""

    def versions(self) -> Dict[str, Optional[str]]:
        """No compiler, so only these."""
        return {"python": platform.python_version(), "numpy": np.__version__, "fake": "1"}

    def import_model(self, prepared: Prepared, options: Dict[str, Any]) -> Path:
        """Linear models only."""
        if prepared.linear is None:
            raise JobError("UnsupportedOperator", "the fake backend runs models of source kind 'generated' only")
        return prepared.linear

    def build(self, module: Path, target: Dict[str, Any], options: Dict[str, Any]) -> Path:
        """Nothing to do."""
        _misbehave(options, "compile")
        return module

    def export(self, built: Path, artifact: Path, cross_compiler: Optional[str]) -> None:
        """A copy."""
        shutil.copyfile(str(built), str(artifact))

    def connect(self, rpc: Dict[str, Any]) -> "FakeBoard":
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

    def _sample(self, number: int) -> float:
        begin = time.perf_counter()
        for _ in range(number):
            self.run()
        return (time.perf_counter() - begin) / number

    def close(self) -> None:
        """Nothing is held."""


def _misbehave(options: Dict[str, Any], stage: str) -> None:
    time.sleep(float(options.get("delay", 0.0)))
    if options.get("crash_in") == stage:
        os.abort()
