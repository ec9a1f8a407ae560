"""Tasks that the controller takes step by step: attempts of `until`, items on different hosts, its own actions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tvmops.errors import ConfigError, HostUnreachable
from tvmops.playbook import local
from tvmops.playbook.batch import Queued
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.prepare import again
from tvmops.playbook.prepared import Prepared, Step, failure
from tvmops.playbook.results import combine, holds, judge, of_item

if TYPE_CHECKING:
    from tvmops.playbook.queue import TaskQueue

POLL = 0.2  # seconds between looks at whether the run is being stopped


def goes_alone(prepared: Prepared) -> bool:
    """True for tasks whose steps the controller takes one by one."""
    from tvmops.playbook.actions import ACTIONS

    if prepared.task.include is not None:
        return False
    if prepared.task.module in ACTIONS:
        return prepared.remote
    if prepared.conduct.retries and not prepared.judged_on_board:
        return any(not (step.result or {}).get("skipped") for step in prepared.steps)
    return len({step.target for step in prepared.steps if step.args is not None}) > 1


class Alone:
    """One task, taken step by step."""

    def __init__(self, queue: TaskQueue, queued: Queued) -> None:
        self.queue = queue
        self.queued = queued
        self.prepared = queued.prepared
        self.context = queued.context

    def run(self) -> dict[str, Any]:
        """All items, the pauses between them included -> the task's result. Raises Interrupted, HostUnreachable."""
        prepared, conduct = self.prepared, self.prepared.conduct
        results: list[dict[str, Any]] = []
        learned: dict[str, Any] = {}
        for index, step in enumerate(prepared.steps):
            if index and conduct.pause:
                self.wait(conduct.pause)
            result = self._item(step, learned)
            learned.update(self.facts(result))
            results.append(of_item(step, result) if prepared.looped else result)
            if prepared.looped:
                self.queued.item_settled(results[-1])
                self.queue.report.items(self.queued, self.queued.items_so_far())
        return combine(prepared, results)

    def _item(self, step: Step, learned: dict[str, Any]) -> dict[str, Any]:
        retries = self.prepared.conduct.retries
        if step.args is None and (step.result or {}).get("skipped"):
            return dict(step.result or {})
        if not retries:
            return judge(self.context, self.prepared, step, self._once(step))
        for attempt in range(1, retries + 2):
            if attempt > 1:
                step = self._again(step, learned)
            result = judge(self.context, self.prepared, step, self._once(step), attempt)
            try:
                if "timedout" in result or self._enough(step, result):
                    return result
            except (TemplateFault, Pending) as fault:
                return {**result, **failure(getattr(fault, "message", str(fault)))}
            if attempt <= retries:
                delay = self.prepared.conduct.delay
                self.say(f"attempt {attempt} of {retries + 1} was not enough; the next in {delay:g} s")
                self.wait(delay)
        return {**result, "attempts": retries, "failed": True}

    def _again(self, step: Step, learned: dict[str, Any]) -> Step:
        if self.prepared.task.module not in local.MODULES:
            return step
        try:
            return again(self.context, self.prepared.task, step, learned)
        except TemplateFault as fault:
            return Step(step.variables, step.label, result=failure(fault.message, fault), target=step.target)

    def _enough(self, step: Step, result: dict[str, Any]) -> bool:
        until = self.prepared.task.until
        if result.get("skipped") and self.prepared.conduct.check:
            return True
        if not until:
            return not result.get("failed")
        return holds(self.context, self.prepared, step, result, until)

    def _once(self, step: Step) -> dict[str, Any]:
        from tvmops.playbook.actions import ACTIONS, Action
        from tvmops.playbook.actions.action import Refused

        if step.args is None:
            return dict(step.result or {})
        module = self.prepared.task.module
        try:
            if module in ACTIONS:
                return ACTIONS[module](Action(self, step), step.args)
            return self.queue.ask(self.queued, step.target, module, step.args)
        except Refused as refused:
            return failure(str(refused))
        except ConfigError as error:
            return failure(error.message, error)
        except HostUnreachable as error:
            if not self.prepared.conduct.ignore_unreachable or self.queue.stopping():
                raise
            from tvmops.playbook.queue import out_of_reach

            self.queue.channels.sessions(self.queue.place_of(step.target, self.queued)).reset()
            return out_of_reach(error)

    def say(self, text: str) -> None:
        """Show a line while the task runs."""
        self.queue.report.progress(self.queued, text)

    def wait(self, seconds: float) -> None:
        """Sleep, and let other hosts work meanwhile. Raises Interrupted."""
        end = time.monotonic() + seconds
        with self.queue.state.shared.progress.idle():
            while (left := end - time.monotonic()) > 0 and not self.queue.stopping():
                time.sleep(min(left, POLL))
        self.queue.check_stop()

    @staticmethod
    def facts(result: dict[str, Any]) -> dict[str, Any]:
        """The variables in a result, all items together."""
        facts: dict[str, Any] = {}
        for one in result.get("results") or [result]:
            if isinstance(one.get("ansible_facts"), dict):
                facts.update(one["ansible_facts"])
        return facts

    @staticmethod
    def facts_of_board(queued: Queued, result: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str | None]]:
        """(facts, the host they are about where the task was delegated) for each item."""
        results = result.get("results") if queued.prepared.looped else [result]
        for one, step in zip(results or [], queued.prepared.steps, strict=False):
            if isinstance(one.get("ansible_facts"), dict):
                yield one["ansible_facts"], step.target
