"""What a board measured by itself, as a Board that answers from memory: the measure job judges it like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

from .backends.base import Board
from .failures import JobError, failing_as
from .job import Job


class LocalOutcome(Board):
    """The folder that job.json calls "local": outcome.json, and the outputs as output_0.npy and so on."""

    def __init__(self, job: Job) -> None:
        folder = job.settings.get("local")
        if not folder:
            raise JobError("BadInput", "job.json of a measure job of mode local needs 'local', the board's outcome")
        with failing_as("Internal", f"the board's outcome in {folder} cannot be read"):
            outcome = json.loads((Path(folder) / "outcome.json").read_text(encoding="utf-8"))
            names = [f"output_{index}.npy" for index in range(outcome["outputs"])]
            self._outputs = [np.load(str(Path(folder) / name), allow_pickle=False) for name in names]
            self._first = float(outcome["first_run_seconds"])
            self._warm_up = float(outcome["warm_up_seconds_per_run"])
            self._number = int(outcome["runs_per_sample"])
            self._samples = [float(sample) for sample in outcome["samples"]]
            self.seconds: Dict[str, float] = dict(outcome["seconds"])
            self.peak_rss_bytes: Optional[int] = outcome["peak_rss_bytes"]

    def upload(self, artifact: Path) -> None:
        """Done before."""

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """Done there."""

    def run(self) -> float:
        """The first inference."""
        return self._first

    def outputs(self) -> List[np.ndarray]:
        """Those of the first inference."""
        return self._outputs

    def warm_up(self, runs: int) -> float:
        """What the board counted by."""
        return self._warm_up

    def measure(self, repeat: int, number: int) -> List[float]:
        """The board's samples, which must be those that the job asks for."""
        if (repeat, number) != (len(self._samples), self._number):
            taken = f"{len(self._samples)} samples of {self._number} runs"
            raise JobError("Internal", f"the board took {taken}, not {repeat} of {number}")
        return self._samples

    def close(self) -> None:
        """Nothing is held."""
