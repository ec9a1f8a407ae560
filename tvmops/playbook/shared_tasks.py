"""Tasks that have to do with other hosts: one host for all, a failure of all, in lockstep, or few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tvmops.errors import ConfigError, HostUnreachable
from tvmops.playbook.batch import Queued
from tvmops.playbook.company import ARRIVED
from tvmops.playbook.plan import Entry, counts, title_of

if TYPE_CHECKING:
    from tvmops.playbook.play_run import PlayRun


class SharedTasks:
    """The part of a play's run on one host in which others matter."""

    def __init__(self, run: PlayRun) -> None:
        self._run = run
        # What the task that is carried out now means for others.
        self._fatal = False
        self._for_all: dict[str, Any] | None = None

    def take(self, entry: Entry) -> None:
        """Carry a task out with regard to the others. Raises as PlayRun.enqueue."""
        run, company = self._run, self._run.company
        run.reached(entry)
        try:
            once = run.settled(entry, lambda: company.once(entry))
            fatal = run.settled(entry, lambda: company.fatal(entry)) or once
        except ConfigError as fault:
            run.queue.add(Queued(entry, run.faulty(entry, fault), run.context(entry)))
            return
        gives = company.gives_facts(entry.task)
        if not (once or fatal or gives or company.lockstep):
            self._alone(entry)
            return
        run.queue.flush("the other hosts")
        if once:
            self._once(entry)
        else:
            company.arrive((*entry.trail, *ARRIVED))
            self._carry_out(entry, fatal=fatal)
        if fatal or gives or company.lockstep:
            company.leave(entry)

    def _alone(self, entry: Entry) -> None:
        """A task with `throttle`, or one whose run_once is no."""
        run = self._run
        given = entry.task.throttle if entry.task.throttle is not None else run.planned.play.throttle
        if given is None:
            run.enqueue(entry)
            return
        run.queue.flush("throttle")
        with run.company.throttled(entry):
            run.enqueue(entry)
            run.queue.flush("throttle")

    def _carry_out(self, entry: Entry, *, fatal: bool) -> None:
        run = self._run
        self._fatal = fatal
        try:
            with run.company.throttled(entry):
                run.enqueue(entry)
                run.queue.flush("the other hosts")
        except HostUnreachable as error:
            if fatal:
                self._tell(title_of(entry.task), f"was lost ({error.message})")
            raise
        finally:
            self._fatal = False

    def _once(self, entry: Entry) -> None:
        """The first of those that come carries the task out; the others take over what it gives."""
        run, company = self._run, self._run.company
        meeting, first = company.meet(entry)
        if not first:
            if counts(entry):
                run.report.total -= 1
            outcome = company.outcome(meeting)
            if outcome:
                self._take_over(entry, outcome)
            return
        self._for_all = {}
        try:
            self._carry_out(entry, fatal=True)
        finally:
            meeting.outcome, self._for_all = self._for_all, None
            meeting.done.set()

    def _take_over(self, entry: Entry, outcome: dict[str, Any]) -> None:
        state = self._run.state
        result = outcome["result"]
        if entry.task.register:
            state.results.values[entry.task.register] = result
        for facts in outcome["facts"]:
            if outcome["remembered"]:
                state.remember(entry.task, facts)
            else:
                state.facts.learn(facts)

    def finished(self, queued: Queued, result: dict[str, Any], status: str) -> None:
        """A task has its result: tell the others, where it is theirs, too."""
        if self._for_all is not None:
            items = result.get("results") if queued.prepared.looped else [result]
            facts = [one["ansible_facts"] for one in items or [] if isinstance(one.get("ansible_facts"), dict)]
            self._for_all.update(result=result, facts=facts, remembered=not queued.remote)
        if self._fatal and status in ("failed", "rescued"):
            self._tell(queued.prepared.title, "failed")

    def _tell(self, title: str, what: str) -> None:
        host = self._run.state.host.name
        text = f"'{title}' {what} on {host}, and its failure is one of all hosts"
        # As in Ansible, who waited for the failed host of run_once does not get the block's own rescue.
        self._run.company.tell("fail", text, twice=self._for_all is not None)
