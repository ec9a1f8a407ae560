"""The interface between jobs and a compiler."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np

from ..failures import JobError
from ..prepared import Prepared


class Built(NamedTuple):
    """What a compiler made. `coverage`: "tasks" that tuning could help, and those "untuned"; None where unknown."""

    library: Any
    coverage: Dict[str, Optional[int]]


class Board(abc.ABC):
    """A machine that runs one compiled model. `close` frees it for the next client."""

    @abc.abstractmethod
    def upload(self, artifact: Path) -> None:
        """Sends the library."""

    @abc.abstractmethod
    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """Loads it, sets `inputs` (in the model's order) and the number of threads."""

    @abc.abstractmethod
    def run(self) -> float:
        """One inference; how many seconds it took, the way to the board included."""

    @abc.abstractmethod
    def outputs(self) -> List[np.ndarray]:
        """The outputs of the last run."""

    @abc.abstractmethod
    def warm_up(self, runs: int) -> float:
        """Runs `runs` times; mean seconds per run, measured on the board."""

    @abc.abstractmethod
    def measure(self, repeat: int, number: int) -> List[float]:
        """`repeat` samples of `number` runs each, in seconds per run, measured on the board."""

    def profile(self) -> List[Dict[str, Any]]:
        """One run, operator by operator: "operator", "device", "seconds" per run and "calls"."""
        raise JobError("BadInput", "this stack cannot profile operators on a board; leave --profile out")

    def details(self) -> Dict[str, Any]:
        """More keys for the result: what a simulator counted, what an FPGA runs."""
        return {}

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the session, also after an error."""


class Backend(abc.ABC):
    """A compiler. Its methods raise JobError: UnsupportedOperator, DynamicShape, Compile, Rpc."""

    @abc.abstractmethod
    def versions(self) -> Dict[str, Optional[str]]:
        """Package name to version; part of every result."""

    @abc.abstractmethod
    def import_model(self, prepared: Prepared, options: Dict[str, Any]) -> Any:
        """The model in the compiler's own form."""

    def tasks(self, module: Any, target: Dict[str, Any], method: str) -> List[Dict[str, Any]]:
        """What `method` can tune in the model: "name" and "weight" (how often it occurs) of each."""
        raise JobError("BadInput", f"this stack does not tune with {method}")

    def tune(
        self, module: Any, target: Dict[str, Any], plan: Any, report: Callable[[Dict[str, Any]], None]
    ) -> Dict[str, Any]:
        """Measures trials as `plan` says and keeps them in its log; the tune job's part of the result."""
        raise JobError("BadInput", f"this stack does not tune with {plan.method}")

    @abc.abstractmethod
    def build(self, module: Any, target: Dict[str, Any], options: Dict[str, Any], tuning: Dict[str, Any]) -> Built:
        """Compiles for `target`. `tuning`: kind none, tophub (with its folder) or log (with method and path)."""

    @abc.abstractmethod
    def export(self, built: Built, artifact: Path, cross_compiler: Optional[str]) -> None:
        """Writes the library, linked by `cross_compiler` where the board is of another architecture."""

    @abc.abstractmethod
    def connect(self, rpc: Dict[str, Any], target: Dict[str, Any]) -> Board:
        """A session with the board behind `rpc` (host, port, session_timeout in seconds), on the device of `target`."""
