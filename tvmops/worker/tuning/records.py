"""The three formats of tuning records, read as JSON without TVM: AutoTVM, auto_scheduler (ansor), MetaSchedule."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, NamedTuple, Optional

# TVM writes a failed trial with one of these as its cost, or more.
FAILED_SECONDS = 1e9


class Record(NamedTuple):
    """One trial. `task` and `config` name it, as JSON; `cost` is the mean of its seconds, None when it failed."""

    task: str
    config: str
    cost: Optional[float]
    line: str

    @property
    def rank(self) -> Any:
        """Sorts the better of two records first, the same way wherever they came from."""
        return (self.cost is None, self.cost or 0.0, self.line)


class NotARecord(Exception):
    """The line is none; the message says why."""


def parse(method: str, line: str) -> Record:
    """The record in a line. Raises NotARecord, whatever the line is."""
    try:
        return PARSERS[method](json.loads(line, parse_constant=_no_constant), line)
    except NotARecord:
        raise
    except RecursionError:
        raise NotARecord("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotARecord(f"no JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError) as error:
        name = type(error).__name__
        raise NotARecord(f"JSON, but no {method} record ({name}: {str(error)[:80]})") from None


def _autotvm(row: Any, line: str) -> Record:
    target, name, args, kwargs = row["input"]
    costs, error = row["result"][0], row["result"][1]
    if not isinstance(name, str) or not isinstance(row["config"], dict):
        raise NotARecord("task's name or configuration is missing")
    # The place in the space says the same as the entities, and differs between spellings of one space.
    config = row["config"].get("entity", row["config"])
    return Record(_key([target, name, args, kwargs]), _key(config), _cost(costs, error), line)


def _ansor(row: Any, line: str) -> Record:
    task, state = row["i"]
    costs, error = row["r"][0], row["r"][1]
    if not isinstance(task[0], str):
        raise NotARecord("the workload's key is missing")
    return Record(_key(task[:2]), _key(state), _cost(costs, error), line)


def _meta_schedule(row: Any, line: str) -> Record:
    workload, (trace, seconds, _target, _args) = row
    if isinstance(workload, bool) or not isinstance(workload, int) or workload < 0:
        raise NotARecord("the workload's number is missing")
    return Record(str(workload), _key(trace), _cost(seconds, 0), line)


PARSERS: Dict[str, Callable[[Any, str], Record]] = {
    "autotvm": _autotvm,
    "ansor": _ansor,
    "meta_schedule": _meta_schedule,
}


def best_per_task(records: List[Record]) -> List[Record]:
    """The fastest record of each task, by task; tasks of which every trial failed have none."""
    found: Dict[str, Record] = {}
    for record in records:
        if record.cost is not None and (record.task not in found or record.rank < found[record.task].rank):
            found[record.task] = record
    return [found[task] for task in sorted(found)]


def union(records: List[Record]) -> List[Record]:
    """Every trial once, the better measurement of two, in an order that does not depend on the files' order."""
    found: Dict[Any, Record] = {}
    for record in records:
        key = (record.task, record.config)
        if key not in found or record.rank < found[key].rank:
            found[key] = record
    return [found[key] for key in sorted(found)]


def _cost(costs: Any, error: Any) -> Optional[float]:
    if error != 0 or not costs:
        return None
    values = [float(cost) for cost in costs]
    mean = sum(values) / len(values)
    return mean if 0 <= mean < FAILED_SECONDS else None


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _no_constant(name: str) -> float:
    raise NotARecord(f"{name} is no JSON")
