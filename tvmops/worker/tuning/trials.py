"""The tuning loop, the same for every method: canary, limits, budget, early stopping, giving up, and what is told."""

from __future__ import annotations

import abc
import time
from collections import Counter
from typing import Any, Callable, Dict, List, Optional

from ..failures import JobError
from .bench import Bench, Limits
from .outcomes import Outcome
from .plan import TunePlan

Report = Callable[[Dict[str, Any]], None]
Measure = Callable[[List[Dict[str, Any]], Callable[[int, Outcome], None]], List[Outcome]]

HOPELESS = 16  # so many trials of a task, every one failed, and it is given up
ROUND = 8  # trials per builder or board that one round proposes
FIRST = Limits(build=300.0, run=120.0)  # before anything is known of a task
LEAST = Limits(build=20.0, run=10.0)
SLACK = 10.0  # a trial may take so many times what the canary took
REPORT_SECONDS = 0.5


class Search(abc.ABC):
    """One task's search with one of TVM's tuners."""

    name: str
    weight: float
    flop: float  # operations per run; 0 where unknown

    @abc.abstractmethod
    def known(self) -> List[Optional[float]]:
        """What the log has of this task: the cost of each trial in seconds, None for one that failed."""

    def canary(self) -> Optional[Dict[str, Any]]:
        """What a builder needs for the default configuration, which nobody has to search for; None where none is."""
        return None

    @abc.abstractmethod
    def round(self, count: int, measure: Measure) -> int:
        """Has up to `count` new trials measured and kept, and learns; how many there were, 0 at the space's end."""


class Tuning:
    """Runs the searches of a job one after the other."""

    def __init__(self, plan: TunePlan, bench: Bench, report: Report) -> None:
        self.plan = plan
        self.bench = bench
        self._report = report
        self.failures: "Counter[str]" = Counter()
        self._measured = 0
        self._left = 0
        self._begin = time.monotonic()

    def run(self, searches: List[Search]) -> Dict[str, Any]:
        """The tune job's part of the result."""
        known = {search: search.known() for search in searches}
        self._left = sum(max(0, self.plan.trials - len(known[search])) for search in searches)
        rows = [Task(self, search, i, len(searches), known[search]).run() for i, search in enumerate(searches, 1)]
        stopped = [{"task": row["name"], "reason": row.pop("stopped")} for row in rows]
        return {
            "tasks": rows,
            "measured": self._measured,
            "reused": sum(row["reused"] for row in rows),
            "failures": dict(self.failures),
            "stopped": [one for one in stopped if one["reason"]],
            "boards_lost": self.bench.boards.lost,
        }

    def note(self, outcome: Outcome) -> None:
        """Counts one measured trial."""
        self._measured += 1
        self._left -= 1
        if outcome.failure:
            self.failures[outcome.failure] += 1

    def skip(self, trials: int) -> None:
        """Trials that will not be measured after all."""
        self._left -= trials

    def tell(self, event: Dict[str, Any]) -> None:
        """One event, with the run's own figures."""
        rate = self._measured / max(time.monotonic() - self._begin, 1e-9)
        self._report(
            {
                "event": "tuning",
                **event,
                "trials_per_second": round(rate, 3),
                "eta_seconds": round(self._left / rate, 1) if rate else None,
                "failures": dict(self.failures),
                "boards_lost": sorted(self.bench.boards.lost),
            }
        )


class Task:
    """One task of a tuning run."""

    def __init__(self, tuning: Tuning, search: Search, number: int, tasks: int, known: List[Optional[float]]) -> None:
        self._tuning, self._search = tuning, search
        self._plan, self._bench = tuning.plan, tuning.bench
        self._place = {"task": number, "tasks": tasks, "name": search.name, "trials": self._plan.trials}
        self._costs = list(known)
        self._reused = len(known)
        self._new = 0
        self._limits = Limits(self._plan.timeout or FIRST.build, self._plan.timeout or FIRST.run)
        self._scaled = self._plan.timeout is not None
        self._messages: "Counter[str]" = Counter()
        self._told = 0.0

    def run(self) -> Dict[str, Any]:
        """Measures until the budget is used up, nothing gets better any more, or nothing works."""
        stopped = self._hopeless()
        try:
            if not stopped and self._budget():
                self._canary()
            while not stopped and self._budget() and not self._settled():
                count = min(self._budget(), ROUND * self._bench.width)
                if not self._search.round(count, self._measure):
                    break
                stopped = self._hopeless()
        finally:
            self._tuning.skip(self._budget())
            self._tell(always=True)
        good = [cost for cost in self._costs if cost is not None]
        return {
            "name": self._search.name,
            "trials": len(self._costs),
            "measured": self._new,
            "reused": self._reused,
            "failed": len(self._costs) - len(good),
            "best_seconds": min(good) if good else None,
            "best_gflops": self._gflops(),
            "stopped": stopped,
        }

    def _budget(self) -> int:
        return max(0, self._plan.trials - len(self._costs))

    def _canary(self) -> None:
        """The default configuration says how long things take here; it is no trial."""
        request = None if self._scaled else self._search.canary()
        if request is None:
            return
        begin = time.monotonic()
        for _, outcome in self._bench.measure([request], FIRST):
            if outcome.costs:
                self._scale(time.monotonic() - begin)

    def _scale(self, seconds: float) -> None:
        self._limits = Limits(max(LEAST.build, SLACK * seconds), max(LEAST.run, SLACK * seconds))
        self._scaled = True

    def _measure(self, requests: List[Dict[str, Any]], keep: Callable[[int, Outcome], None]) -> List[Outcome]:
        found: Dict[int, Outcome] = {}
        for number, outcome in self._bench.measure(requests, self._limits):
            found[number] = outcome
            if outcome.failure != "board":  # the trial was not at fault, and may be tried again
                keep(number, outcome)
            self._costs.append(outcome.cost)
            self._new += 1
            self._tuning.note(outcome)
            if outcome.failure:
                self._messages[f"{outcome.failure}: {_brief(outcome.message)}"] += 1
            elif not self._scaled:
                self._scale(outcome.seconds)
            self._tell()
        return [found[number] for number in range(len(requests))]

    def _settled(self) -> bool:
        """Whether the best trial is so old that the search may end."""
        good = [cost for cost in self._costs if cost is not None]
        if not self._plan.early_stopping or not good:
            return False
        return len(self._costs) - 1 - self._costs.index(min(good)) >= self._plan.early_stopping

    def _hopeless(self) -> Optional[str]:
        enough = min(HOPELESS, self._plan.trials)
        if len(self._costs) < enough or any(cost is not None for cost in self._costs):
            return None
        reasons = "; ".join(f"{count} x {message}" for message, count in self._messages.most_common(2))
        return f"all {len(self._costs)} trials failed ({reasons or 'in an earlier run; the log has them'})"

    def _gflops(self) -> Optional[float]:
        good = [cost for cost in self._costs if cost]
        return round(self._search.flop / min(good) / 1e9, 3) if good and self._search.flop else None

    def _tell(self, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self._told >= REPORT_SECONDS:
            self._told = now
            self._tuning.tell({**self._place, "trial": len(self._costs), "best_gflops": self._gflops()})


def _brief(message: str) -> str:
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"


def heaviest(searches: List[Any], tasks: Optional[int]) -> List[Any]:
    """At most `tasks` of them, those with the most operations in one inference, in their own order."""
    if tasks is None or len(searches) <= tasks:
        return searches
    kept = sorted(range(len(searches)), key=lambda i: (-searches[i].weight * max(searches[i].flop, 1.0), i))[:tasks]
    return [searches[i] for i in sorted(kept)]


def nothing_to_tune(method: str, target: Any) -> JobError:
    """For a model without a single task."""
    return JobError("BadInput", f"{method} finds nothing that can be tuned in this model for the target {target}")
