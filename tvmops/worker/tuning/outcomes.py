"""What became of one trial."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

# Why trials fail: the configuration contradicts itself, the compiler refuses it, one of both takes too long, it fails
# on the board, or the board was lost with it.
FAILURES = ("instantiation", "compile", "build_timeout", "run", "run_timeout", "board")


class Outcome(NamedTuple):
    """`costs`: seconds per run, one per repeat; None for a trial that failed. `seconds`: of building and running."""

    costs: Optional[List[float]]
    seconds: float
    failure: Optional[str] = None
    message: str = ""

    @property
    def cost(self) -> Optional[float]:
        """Mean seconds per run."""
        return sum(self.costs) / len(self.costs) if self.costs else None


def failed(kind: str, message: str, seconds: float) -> Outcome:
    """An Outcome of a trial that failed."""
    assert kind in FAILURES
    return Outcome(None, seconds, kind, message)
