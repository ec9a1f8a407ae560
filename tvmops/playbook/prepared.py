"""A task that is worked out: its steps, and results that are known without the board."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook.conduct import Conduct
from tvmops.playbook.model import Task
from tvmops.playbook.residual_names import names_in
from tvmops.playbook.values import Condition


@dataclass(frozen=True)
class Step:
    """A task, or one item of its loop: `args` for the board, or the `result` that is known already.

    `variables` are what the loop gives this item; `target` is the host that the task is delegated to. `when`: what the
    board decides of its conditions; `verdicts`: the same for changed_when, failed_when and until. `settled`: its result
    if it comes to run, where that is known: the board only decides whether.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    args: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    target: str | None = None
    when: list[list[Any]] = field(default_factory=list)
    verdicts: dict[str, Any] = field(default_factory=dict)
    settled: dict[str, Any] | None = None

    @property
    def reads(self) -> frozenset[str]:
        """The registered results that the board reads for it."""
        if not self.when and not self.verdicts:
            return frozenset()
        return frozenset(names_in([self.when, *self.verdicts.values()]))


@dataclass(frozen=True)
class Prepared:
    """A task with everything worked out. `looped` tells one step of a loop from a plain task.

    `decides_changed`, `decides_failed`: that verdict waits for the result, here. `judged_on_board`: every verdict on a
    result of the board's is the board's, its attempts included. `reads`: the results that the board reads for it.
    """

    task: Task
    title: str
    steps: tuple[Step, ...]
    looped: bool = False
    conduct: Conduct = field(default_factory=Conduct)
    changed_when: bool | None = None
    failed_when: bool | None = None
    decides_changed: bool = False
    decides_failed: bool = False
    judged_on_board: bool = False
    reads: frozenset[str] = frozenset()
    ignore_errors: bool = False
    no_log: bool = False
    notify: tuple[str, ...] = ()

    @property
    def remote(self) -> bool:
        """True when the board has something to do."""
        return any(step.args is not None for step in self.steps)

    @property
    def gives_facts_to(self) -> str | None:
        """The host whose facts these are, where that is another (delegate_facts)."""
        return self.target if self.conduct.delegate_facts else None

    @property
    def target(self) -> str | None:
        """The host that all of the task is delegated to, or None."""
        return self.steps[0].target if self.steps else None


def failure(message: str, fault: ConfigError | None = None) -> dict[str, Any]:
    """A failed result; the hint of `fault` goes with it."""
    result: dict[str, Any] = {"failed": True, "changed": False, "msg": message}
    if fault is not None and fault.hint:
        result["hint"] = fault.hint
    return result


def unchanged_by_json(value: Any) -> bool:
    """True when a value is the same after a trip as JSON."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and unchanged_by_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(unchanged_by_json(one) for one in value)
    return value is None or isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))


def skipped(condition: Condition) -> dict[str, Any]:
    """The result of a task whose condition does not hold."""
    return {
        "changed": False,
        "skipped": True,
        "skip_reason": "Conditional result was False",
        "false_condition": condition.fixed if condition.compiled is None else condition.text,
    }
