"""MetaSchedule, task by task with its own loop. TVM with Relax.

Not TVM's task scheduler: that keeps a round's records to itself until it comes back to the task, so that a run that is
cut off has nothing to show for its time. Here every trial is committed as soon as it is measured.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

from tvm import relax

from ..backends.devices import device_of
from ..failures import JobError
from .bench import Bench
from .databases import read_database, write_database
from .logs import FAULTS, OpenLog, opened
from .names import estimate_flops, meta_schedule
from .outcomes import Outcome
from .plan import TunePlan
from .trials import Measure, Report, Search, Tuning, heaviest, nothing_to_tune

ms = meta_schedule()
BUILD = (".tuning.building_relax", "meta_schedule_trial")
FAILED_SECONDS = 1e9
ENDLESS = 1 << 20  # the loop counts the trials, not the strategy
TRIALS = "trials.jsonl"
SKIPPED = 50  # rounds of nothing but known trials after which a space counts as used up
# The strategies of TVM's search, and the cost model each asks. Evolutionary search takes 15 to 20 s of processor time a
# round: for small budgets the plain one measures more.
STRATEGIES = {"random": ("replay-trace", "random"), "ga": ("evolutionary", "random")}
STRATEGIES["xgb"] = ("evolutionary", "xgb")


def prepared(module: Any, target: Any) -> Any:
    """The module as tuning and applying must both see it, or no record is ever found: operators lowered and fused.

    The importers of torch leave operators to decompose and parameters as arguments; the pipeline does all that is left.
    """
    with target:
        return relax.get_pipeline("zero")(module)


def extract(module: Any, target: Any) -> List[Any]:
    """The model's tasks; each has a task_name, a weight and `dispatched` modules."""
    found = ms.relax_integration.extract_tasks(module, target)
    return [task for task in found if not _scheduled(task.dispatched[0])]


def tune(tasks: List[Any], target: Dict[str, Any], plan: TunePlan, report: Report) -> Dict[str, Any]:
    """Measures what the plan says and its log lacks."""
    with opened(plan.log, plan.identity) as log:
        return {**_tune(tasks, target, plan, log, report), **log.remarks()}


def _tune(tasks: List[Any], target: Dict[str, Any], plan: TunePlan, log: OpenLog, report: Report) -> Dict[str, Any]:
    if not tasks:
        raise nothing_to_tune("MetaSchedule", target)
    database = open_database(log.path, ours=True)
    model = _cost_model(plan)
    searches = heaviest([MetaScheduleSearch(task, plan, log, database, model) for task in tasks], plan.tasks)
    with Bench(plan, device_of(target), BUILD) as bench:
        return Tuning(plan, bench, report).run(list(searches))


def open_database(folder: Path, ours: bool) -> Any:
    """TVM's database over the log's two files. TVM takes none with a broken line: such lines are left out.

    `ours`: the log is held for writing, so they are taken out of the files; else out of a copy.
    """
    found = read_database(folder)
    for fault in found.faults[:FAULTS]:
        print(f"{fault}; the line is left out", flush=True)
    if not found.faults:
        return ms.database.JSONDatabase(work_dir=str(folder))
    if ours:
        write_database(folder, [folder], found.records)
        return ms.database.JSONDatabase(work_dir=str(folder))
    with tempfile.TemporaryDirectory(prefix="tvmops-database-") as copy:
        write_database(Path(copy), [folder], found.records)
        return ms.database.JSONDatabase(work_dir=copy)


class MetaScheduleSearch(Search):
    """One task. What was measured stands in trials.jsonl by the structural hash of its code, failures included."""

    def __init__(self, task: Any, plan: TunePlan, log: OpenLog, database: Any, model: Any) -> None:
        self.name, self.weight = str(task.task_name), float(int(task.weight))
        self._module, self._target = task.dispatched[0], task.target
        self.flop = _flop(self._module)
        self._plan, self._database, self._model = plan, database, model
        self._notes = log.path / TRIALS
        self._key = ms.utils.shash2hex(self._module)
        self._known = _notes(self._notes).get(self._key) or self._from_database()
        self._context: Any = None
        self._seeds: Optional[List[Any]] = None

    def known(self) -> List[Optional[float]]:
        """In the order in which they were measured."""
        return list(self._known.values())

    def canary(self) -> Optional[Dict[str, Any]]:
        """The task without a schedule, which only a CPU can run."""
        if device_of(self._target.export()) != "cpu":
            return None
        return self._request(self._module, ms.arg_info.ArgInfo.from_entry_func(self._module, remove_preproc=True))

    def round(self, count: int, measure: Measure) -> int:
        """What the strategy proposes, without what is known."""
        context = self._context_of(count)
        seeds = self._seeds_of()[:count]
        if seeds:
            self._seeds = self._seeds_of()[count:]
            return self._measured(seeds, measure)
        for _ in range(SKIPPED):
            candidates = context.generate_measure_candidates()
            if candidates is None:
                return 0
            found = self._measured(list(candidates)[:count], measure)
            results = [self._result(one) for one in candidates]
            context.notify_runner_results(list(candidates), results)
            self._model.update(context, list(candidates), results)
            if found:
                return found
        return 0

    def _measured(self, candidates: List[Any], measure: Measure) -> int:
        fresh: Dict[str, Any] = {}
        for one in candidates:
            fresh.setdefault(self._name(one), one)
        keys = [key for key in fresh if key not in self._known]
        if keys:
            requests = [self._request(fresh[key].sch.mod, fresh[key].args_info) for key in keys]
            measure(requests, lambda number, outcome: self._keep(keys[number], fresh[keys[number]], outcome))
        return len(keys)

    def _keep(self, key: str, candidate: Any, outcome: Outcome) -> None:
        """At once: in the database when it ran, in the notes always."""
        if outcome.costs:
            workload = self._database.commit_workload(self._module)
            trace = candidate.sch.trace
            record = ms.database.TuningRecord(trace, workload, outcome.costs, self._target, candidate.args_info)
            self._database.commit_tuning_record(record)
        self._known[key] = outcome.cost
        note = {"task": self._key, "trial": key, "seconds": outcome.cost, "failure": outcome.failure}
        with self._notes.open("ab", buffering=0) as notes:
            notes.write((json.dumps(note) + "\n").encode("utf-8"))

    def _result(self, candidate: Any) -> Any:
        seconds = self._known.get(self._name(candidate))
        if seconds is None:
            return ms.runner.RunnerResult(None, "not measured, or failed")
        return ms.runner.RunnerResult([seconds], None)

    def _name(self, candidate: Any) -> str:
        return str(ms.utils.shash2hex(candidate.sch.mod))

    def _context_of(self, count: int) -> Any:
        if self._context is None:
            strategy = STRATEGIES[self._plan.tuner][0]
            self._context = ms.TuneContext(
                mod=self._module,
                target=self._target,
                space_generator="post-order-apply",
                search_strategy=strategy,
                task_name=self.name,
                num_threads=1,
            )
            self._context.pre_tuning(ENDLESS, count, None, self._database, self._model)
        return self._context

    def _seeds_of(self) -> List[Any]:
        """The best schedules that other logs have for this very task."""
        if self._seeds is None:
            self._seeds = []
            for folder in self._plan.others if self._plan.transfer else []:
                schedule = open_database(folder, ours=False).query_schedule(self._module, self._target, self.name)
                if schedule is not None:
                    arguments = ms.arg_info.ArgInfo.from_entry_func(schedule.mod, remove_preproc=True)
                    self._seeds.append(ms.search_strategy.MeasureCandidate(schedule, arguments))
        return self._seeds

    def _from_database(self) -> Dict[str, Optional[float]]:
        """For a database from elsewhere, without notes: its records count, each under a name of its own."""
        if not self._database.has_workload(self._module):
            return {}
        workload = self._database.commit_workload(self._module)
        records = self._database.get_top_k(workload, ENDLESS)
        return {f"record {i}": _mean(record.run_secs) for i, record in enumerate(records)}

    def _request(self, module: Any, args_info: Any) -> Dict[str, Any]:
        arguments = []
        for info in args_info:
            kind, dtype, shape = info.as_json()
            if kind != "TENSOR":
                raise JobError("BadInput", f"task {self.name} has an argument that is no tensor ({kind})")
            arguments.append(([int(size) for size in shape], str(dtype)))
        return {"data": pickle.dumps((module, self._target)), "args": arguments}


def _cost_model(plan: TunePlan) -> Any:
    try:
        return ms.cost_model.CostModel.create(STRATEGIES[plan.tuner][1], num_tuning_cores=1)
    except (ImportError, ModuleNotFoundError) as error:
        message = "tuner 'xgb' needs xgboost: add the stack's extra 'tuning', or choose random or ga"
        raise JobError("BadInput", message) from error


def _notes(path: Path) -> Dict[str, Dict[str, Optional[float]]]:
    """Task's hash -> trial's hash -> seconds. A torn line is a trial that will be measured again."""
    found: Dict[str, Dict[str, Optional[float]]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            note = json.loads(line.decode("utf-8"))
            found.setdefault(note["task"], {})[note["trial"]] = note["seconds"]
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _mean(seconds: Any) -> Optional[float]:
    values = [float(value) for value in seconds or []]
    return sum(values) / len(values) if values and max(values) < FAILED_SECONDS else None


def _scheduled(module: Any) -> bool:
    return bool((module.attrs or {}).get("tirx.is_scheduled", False))


def _flop(module: Any) -> float:
    return float(estimate_flops()(module))
