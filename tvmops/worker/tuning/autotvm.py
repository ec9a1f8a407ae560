"""AutoTVM, with TVM's own tuners. TVM up to 0.19."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any, Callable, Dict, List, Optional

from tvm import autotvm
from tvm.autotvm.env import GLOBAL_SCOPE
from tvm.autotvm.tuner import GATuner, GridSearchTuner, RandomTuner, XGBTuner

from ..backends.devices import device_of
from ..failures import JobError
from .bench import Bench
from .logs import OpenLog, opened, read_log
from .outcomes import Outcome
from .plan import TunePlan
from .trials import Measure, Report, Search, Tuning, heaviest, nothing_to_tune

BUILD = (".tuning.building_relay", "autotvm_trial")
ERRORS = {"instantiation": 1, "compile": 2, "run": 4, "build_timeout": 6, "run_timeout": 7, "board": 8}
PLAN_SIZES = (8, 64)  # trials after which the cost model is fitted again
SEEDS = 30  # records that transfer learning needs at least
SKIPPED = 50  # rounds of nothing but known trials after which a space counts as used up


def loss_type() -> str:
    """What XGBTuner ranks with. xgboost 2 refuses 'rank', and says so at the first fit, 64 trials later."""
    import xgboost

    return "rank-binary" if int(xgboost.__version__.split(".")[0]) >= 2 else "rank"


def extract(module: Any, params: Any, target: Any) -> List[Any]:
    """The model's tasks."""
    return list(autotvm.task.extract_from_program(module, target=target, params=params))


def name_of(task: Any) -> str:
    """The template's."""
    return str(task.name)


def weight_of(task: Any) -> int:
    """TVM does not say how often a task occurs."""
    return 1


def tune(tasks: List[Any], target: Dict[str, Any], plan: TunePlan, report: Report) -> Dict[str, Any]:
    """Measures what the plan says and its log lacks."""
    with opened(plan.log, plan.identity) as log:
        return {**_tune(tasks, target, plan, log, report), **log.remarks()}


def _tune(tasks: List[Any], target: Dict[str, Any], plan: TunePlan, log: OpenLog, report: Report) -> Dict[str, Any]:
    known = _by_task(log.content.records)
    searches = heaviest([AutotvmSearch(task, plan, log, known) for task in tasks], plan.tasks)
    if not searches:
        raise nothing_to_tune("AutoTVM", target)
    with Bench(plan, device_of(target), BUILD) as bench:
        if bench.device != "cpu":
            checks = {"gpu": bench.boards.ask("limits", {"device": bench.device}, 120)}
            for search in searches:
                search.checks = checks
        before, GLOBAL_SCOPE.in_tuning = GLOBAL_SCOPE.in_tuning, True
        try:
            return Tuning(plan, bench, report).run(searches)
        finally:
            GLOBAL_SCOPE.in_tuning = before


class AutotvmSearch(Search):
    """One task. The log's trials are the tuner's first lessons; none of them is measured again."""

    def __init__(self, task: Any, plan: TunePlan, log: OpenLog, known: Dict[str, List[Any]]) -> None:
        self.task, self.name = task, name_of(task)
        self.weight, self.flop = float(weight_of(task)), float(task.flop or 0)
        self.checks: Dict[str, Any] = {}
        self._plan, self._log = plan, log
        self._results: Dict[int, Any] = {}
        self._tuner: Any = None
        for row in known.get(_task_key(task), []):
            config = autotvm.task.space.ConfigEntity.from_json_dict(row["config"])
            self._results[config.index] = autotvm.MeasureResult(
                tuple(row["result"][0]), row["result"][1], row["result"][2], row["result"][3]
            )

    def known(self) -> List[Optional[float]]:
        """In the log's order."""
        return [_cost(result) for result in self._results.values()]

    def canary(self) -> Optional[Dict[str, Any]]:
        """The configuration that an untuned build falls back to."""
        return self._request(autotvm.task.space.FallbackConfigEntity())

    def round(self, count: int, measure: Measure) -> int:
        """What the tuner proposes; proposals that the log has are answered from there."""
        tuner = self._tuner_of()
        for _ in range(SKIPPED):
            if not tuner.has_next():
                return 0
            configs = tuner.next_batch(count)
            fresh = list({config.index: config for config in configs if config.index not in self._results}.values())
            if fresh:
                measure([self._request(config) for config in fresh], self._keeper(fresh))
            if len(self._results) >= self._plan.trials:  # nothing will be proposed any more: a last fit takes a minute
                return len(fresh)
            inputs = [self._input(config) for config in configs if config.index in self._results]
            tuner.update(inputs, [self._results[found.config.index] for found in inputs])
            if fresh:
                return len(fresh)
        return 0

    def _tuner_of(self) -> Any:
        if self._tuner is None:
            self._tuner = make_tuner(self.task, self._plan.tuner, plan_size(self._plan.trials))
            if self._plan.transfer:
                self._transfer()
            self._resume()
        return self._tuner

    def _resume(self) -> None:
        indices = [index for index in self._results if self.task.config_space.is_index_valid(index)]
        if self._plan.tuner == "xgb" and indices:
            inputs = [self._input(self.task.config_space.get(index)) for index in indices]
            self._tuner.update(inputs, [self._results[index] for index in indices])
        elif self._plan.tuner == "random":
            self._tuner.visited += indices

    def _transfer(self) -> None:
        rows = [record for path in self._plan.others for record in read_log(path, "autotvm").records]
        learnt = [pair for pair in (autotvm.record.decode(row.line) for row in rows) if pair is not None]
        same = [pair for pair in learnt if pair[0].task.name == self.task.name]
        if same:
            self._tuner.load_history(same, min_seed_records=SEEDS)

    def _input(self, config: Any) -> Any:
        return autotvm.MeasureInput(self.task.target, self.task, config)

    def _request(self, config: Any) -> Dict[str, Any]:
        return {"data": pickle.dumps((self.task.target, self.task, config)), "checks": self.checks}

    def _keeper(self, configs: List[Any]) -> Callable[[int, Outcome], None]:
        def keep(number: int, outcome: Outcome) -> None:
            config, result = configs[number], _result(outcome)
            self._results[config.index] = result
            self._log.append(autotvm.record.encode(self._input(config), result))

        return keep


def plan_size(trials: int) -> int:
    """Half a small budget: a first fit after its last trial would teach nobody."""
    least, most = PLAN_SIZES
    return max(least, min(most, trials // 2))


def make_tuner(task: Any, name: str, size: int) -> Any:
    """One of TVM's tuners. Raises JobError (BadInput) where the environment lacks what it needs."""
    if name == "xgb":
        try:
            return XGBTuner(task, plan_size=size, feature_type="itervar", loss_type=loss_type())
        except ImportError as error:
            raise JobError(
                "BadInput",
                "tuner 'xgb' needs xgboost: add the stack's extra 'tuning', or choose ga, random, gridsearch",
            ) from error
    return {"ga": GATuner, "random": RandomTuner, "gridsearch": GridSearchTuner}[name](task)


def _result(outcome: Outcome) -> Any:
    if outcome.costs:
        costs = sorted(outcome.costs)
        # As AutoTVM: of three and more, neither the slowest nor the fastest.
        kept = tuple(costs[1:-1]) if len(costs) > 2 else tuple(costs)
        return autotvm.MeasureResult(kept, 0, outcome.seconds, time.time())
    error = RuntimeError(outcome.message[-500:])
    return autotvm.MeasureResult((outcome.failure, error), ERRORS[str(outcome.failure)], outcome.seconds, time.time())


def _cost(result: Any) -> Optional[float]:
    return sum(result.costs) / len(result.costs) if result.error_no == 0 else None


def _by_task(records: List[Any]) -> Dict[str, List[Any]]:
    found: Dict[str, List[Any]] = {}
    for record in records:
        row = json.loads(record.line)
        found.setdefault(json.dumps([row["input"][1], row["input"][2]]), []).append(row)
    return found


def _task_key(task: Any) -> str:
    return json.dumps(json.loads(json.dumps([task.name, task.args])))
