"""What a controller module may use: the host's sessions, the task's keywords, and a way to be shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.playbook.conduct import Conduct
from tvmops.playbook.model import Task
from tvmops.playbook.registry import validate
from tvmops.playbook.state import HostState, Shared

if TYPE_CHECKING:
    from tvmops.playbook.alone import Alone
    from tvmops.playbook.channels import Sessions
    from tvmops.playbook.prepared import Step
    from tvmops.playbook.variables import Scope


class Refused(Exception):
    """A module's arguments cannot be used; the text says why."""


class Action:
    """One item of a task that a controller module carries out."""

    def __init__(self, alone: Alone, step: Step) -> None:
        self._alone = alone
        self._step = step

    @property
    def task(self) -> Task:
        """The task."""
        return self._alone.prepared.task

    @property
    def conduct(self) -> Conduct:
        """Check mode, become, environment."""
        return self._alone.prepared.conduct

    @property
    def state(self) -> HostState:
        """What is known of the host."""
        return self._alone.queue.state

    @property
    def shared(self) -> Shared:
        """What all hosts have in common."""
        return self.state.shared

    @property
    def host(self) -> str:
        """The name of the host that the task is carried out on."""
        return self._step.target or self.state.host.name

    @property
    def sessions(self) -> Sessions:
        """The sessions of that host."""
        queue = self._alone.queue
        return queue.channels.sessions(queue.place_of(self._step.target, self._alone.queued))

    def arguments(self, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments by the module's own names, of the right types. Raises Refused."""
        clean, problems = validate(self.task.module, args)
        if problems:
            raise Refused("; ".join(problem.message for problem in problems))
        return clean

    def ask(self, module: str, args: dict[str, Any]) -> dict[str, Any]:
        """The result of a module on the board. Raises what sessions raise."""
        return self._alone.queue.ask(self._alone.queued, self._step.target, module, args)

    def scope(self) -> Scope:
        """What the task's templates see."""
        return self._alone.context.scope(self.task, self._step.variables, {})

    def search(self) -> list[Any]:
        """Where files of the task are looked for."""
        return self._alone.context.search(self.task)

    @property
    def basedir(self) -> Path:
        """The playbook's folder."""
        return self._alone.context.scopes.play.basedir

    def say(self, text: str) -> None:
        """Show a line while the task runs."""
        self._alone.say(text)

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Interrupted."""
        self._alone.wait(seconds)

    def stopping(self) -> bool:
        """True when the run is being stopped."""
        return self._alone.queue.stopping()
