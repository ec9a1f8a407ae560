"""One host's playbook from its first play to its recap."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvmops.errors import Interrupted, TvmopsError
from tvmops.playbook.channels import Sessions
from tvmops.playbook.company import HostStopped
from tvmops.playbook.events import HostRecap
from tvmops.playbook.plan import HostPlan, PlayPlan
from tvmops.playbook.planner import Planner
from tvmops.playbook.play_run import HostFailed, PlayRun
from tvmops.playbook.queue import TaskQueue
from tvmops.playbook.report import OnEvent, Report
from tvmops.playbook.state import HostState


def plan_host(state: HostState, plays: Sequence[PlayPlan]) -> HostPlan:
    """Plan a host's part of some plays. Certain faults are in the plan's `problems`."""
    planner = Planner(state)
    for planned in plays:
        planner.play(planned)
    return planner.plan


class HostRun:
    """Runs one host's plans, one after the other. When `stopping` says yes, it ends after the batch that is out."""

    def __init__(
        self,
        state: HostState,
        sessions: Sessions,
        on_event: OnEvent,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.state = state
        self.report = Report(state.host.name, on_event)
        self.over = False
        self._stopping = stopping
        self._queue = TaskQueue(state, self.report, sessions, stopping=stopping)

    def run(self, plan: HostPlan) -> None:
        """Run some plays; `over` when the run ended early, as the recap says. Raises nothing a host can cause."""
        recap = self.report.recap
        self.report.total += plan.total
        if plan.needs_root:
            self._queue.channels.as_root()
        self.over = True
        try:
            for planned in plan.plays:
                PlayRun(self.state, planned, self._queue, self.report).run()
            self.over = False
        except HostFailed:
            pass
        except HostStopped as stopped:
            self.report.stopped(stopped.text)
        except Interrupted:
            recap.interrupted = True
        except TvmopsError as error:
            # While stopping, a session may have been closed under it.
            recap.interrupted = self._stopping()
            if not recap.interrupted:
                self.report.ended_by(error)
        finally:
            self.state.shared.progress.end(self.state.host.name)

    def end(self) -> HostRecap:
        """All plays are over, or none is begun any more."""
        return self.report.end()
