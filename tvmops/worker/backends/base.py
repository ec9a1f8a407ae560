"""The interface between jobs and a compiler."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from ..prepared import Prepared


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

    @abc.abstractmethod
    def build(self, module: Any, target: Dict[str, Any], options: Dict[str, Any]) -> Any:
        """Compiles for `target`."""

    @abc.abstractmethod
    def export(self, built: Any, artifact: Path, cross_compiler: Optional[str]) -> None:
        """Writes the library, linked by `cross_compiler` where the board is of another architecture."""

    @abc.abstractmethod
    def connect(self, rpc: Dict[str, Any]) -> Board:
        """A session with the board behind `rpc` (host, port, session_timeout in seconds)."""
