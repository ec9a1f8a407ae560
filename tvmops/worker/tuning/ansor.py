"""auto_scheduler (Ansor), with TVM's own search policy. TVM up to 0.19."""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import tvm
from tvm import auto_scheduler

from ..backends.devices import device_of
from ..failures import JobError
from .bench import Bench
from .logs import OpenLog, opened, read_log
from .outcomes import Outcome
from .plan import TunePlan
from .trials import Measure, Report, Search, Tuning, heaviest, nothing_to_tune

BUILD = (".tuning.building_relay", "ansor_trial")
ERRORS = {"instantiation": 1, "compile": 2, "run": 4, "build_timeout": 6, "run_timeout": 7, "board": 8}
FAILED_COSTS = [1e10]
# Evolutionary search over a population of 2048 takes two minutes of processor time a round, however few trials follow.
POPULATION = (64, 2048)
POPULATION_PER_TRIAL = 16
# TVM's C++ calls these by name for builder and runner; ours measure on our boards.
BUILDER = "auto_scheduler.local_builder.build"
RUNNER = "auto_scheduler.local_runner.run"


def extract(module: Any, params: Any, target: Any) -> List[Any]:
    """The model's tasks with their weights, as (task, weight)."""
    tasks, weights = auto_scheduler.extract_tasks(module, params, target)
    return [(task, int(weight)) for task, weight in zip(tasks, weights)]


def name_of(task: Any) -> str:
    """What TVM calls it, else its key."""
    return str(task[0].desc or task[0].workload_key)


def weight_of(task: Any) -> int:
    """How often it occurs in the model."""
    return int(task[1])


def tune(tasks: List[Any], target: Dict[str, Any], plan: TunePlan, report: Report) -> Dict[str, Any]:
    """Measures what the plan says and its log lacks."""
    with opened(plan.log, plan.identity) as log:
        return {**_tune(tasks, target, plan, log, report), **log.remarks()}


def _tune(tasks: List[Any], target: Dict[str, Any], plan: TunePlan, log: OpenLog, report: Report) -> Dict[str, Any]:
    if not tasks:
        raise nothing_to_tune("auto_scheduler", target)
    model = _cost_model(plan)
    with tempfile.TemporaryDirectory(prefix="tvmops-ansor-") as folder:
        # TVM's reader ends the process at a line that is no record: it gets those that are.
        clean = Path(folder) / "known.log"
        clean.write_text("".join(f"{record.line}\n" for record in log.content.records), encoding="utf-8")
        if plan.tuner == "xgb":
            _teach(model, clean, plan)
        searches = heaviest([AnsorSearch(task, plan, model, log, clean) for task in tasks], plan.tasks)
        with Bench(plan, device_of(target), BUILD) as bench:
            return Tuning(plan, bench, report).run(searches)


class AnsorSearch(Search):
    """One task. Measured states of the log are loaded into the policy, which then never proposes them."""

    def __init__(self, task: Any, plan: TunePlan, model: Any, log: OpenLog, clean: Path) -> None:
        self.task, self.weight, self.name = task[0], float(weight_of(task)), name_of(task)
        self.flop = float(self.task.compute_dag.flop_ct)
        self._plan, self._model, self._log, self._clean = plan, model, log, clean
        self._policy: Any = None

    def known(self) -> List[Optional[float]]:
        """By the task's key and target, in the log's order."""
        found: List[Optional[float]] = []
        for record in self._log.content.records:
            entry, _ = auto_scheduler.measure_record.load_record_from_string(record.line)
            if entry.task.workload_key == self.task.workload_key and str(entry.task.target) == str(self.task.target):
                found.append(record.cost)
        return found

    def round(self, count: int, measure: Measure) -> int:
        """One round of the policy; it calls back for building and running."""
        measured: List[int] = []
        errors: List[Exception] = []

        def build(inputs: Any, *_settings: Any) -> List[Any]:
            return [auto_scheduler.measure.BuildResult("", [], 0, None, 0.0) for _ in inputs]

        def run(inputs: Any, *_settings: Any) -> List[Any]:
            results: Dict[int, Any] = {}

            def keep(number: int, outcome: Outcome) -> None:
                results[number] = _result(outcome)
                self._log.append(auto_scheduler.measure_record.dump_record_to_string(inputs[number], results[number]))

            outcomes = measure([{"data": pickle.dumps(one.serialize())} for one in inputs], keep)
            measured.append(len(outcomes))
            return [results.get(number) or _result(outcome) for number, outcome in enumerate(outcomes)]

        tvm.register_func(BUILDER, build, override=True)
        tvm.register_func(RUNNER, _guarded(run, errors), override=True)
        measurer = auto_scheduler.measure.ProgramMeasurer(
            auto_scheduler.LocalBuilder(n_parallel=1), auto_scheduler.LocalRunner(), [], 0, 1 << 30
        )
        self._policy_of().continue_search_one_round(count, measurer)
        if errors:
            raise errors[0]
        return sum(measured)

    def _policy_of(self) -> Any:
        if self._policy is None:
            loaded = [auto_scheduler.PreloadMeasuredStates(str(self._clean))] if self.known() else None
            parameters = {"evolutionary_search_population": population(self._plan.trials)}
            self._policy = auto_scheduler.SketchPolicy(
                self.task, self._model, parameters, verbose=0, init_search_callbacks=loaded
            )
        return self._policy


def _guarded(function: Callable[..., Any], errors: List[Exception]) -> Callable[..., Any]:
    """TVM's C++ would turn a JobError into one of its own: it is kept, and raised again when C++ is done."""

    def call(inputs: Any, *settings: Any) -> Any:
        try:
            return function(inputs, *settings)
        except JobError as error:
            errors.append(error)
            return [_result(Outcome(None, 0.0, "board", error.message)) for _ in inputs]

    return call


def population(trials: int) -> int:
    """Candidates that one round breeds for a budget of so many trials."""
    least, most = POPULATION
    return max(least, min(most, POPULATION_PER_TRIAL * trials))


def _cost_model(plan: TunePlan) -> Any:
    if plan.tuner == "random":
        return auto_scheduler.RandomModel()
    try:
        return auto_scheduler.XGBModel()
    except ImportError as error:
        message = "tuner 'xgb' of ansor needs xgboost: add the stack's extra 'tuning', or choose tuner: random"
        raise JobError("BadInput", message) from error


def _teach(model: Any, clean: Path, plan: TunePlan) -> None:
    lines = [clean] if clean.stat().st_size else []
    for other in plan.others if plan.transfer else []:
        path = clean.with_name(f"other-{len(lines)}.log")
        path.write_text("".join(f"{record.line}\n" for record in read_log(other, "ansor").records), encoding="utf-8")
        lines.append(path)
    for path in lines:
        model.update_from_file(str(path))


def _result(outcome: Outcome) -> Any:
    costs = outcome.costs or FAILED_COSTS
    error = ERRORS[outcome.failure] if outcome.failure else 0
    message = outcome.message[-500:]
    return auto_scheduler.measure.MeasureResult(costs, error, message, outcome.seconds, time.time())
