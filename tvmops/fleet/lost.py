"""What a run does about other runs that it finds on a board: wait, give up, follow its owner's lost ones, fetch them.

Lost is a run whose controller went away while the board worked: the board has finished the batch, or is about to.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvmops.connection.situation import busy, duration, whose
from tvmops.errors import HostBusy
from tvmops.fleet.replay import Replay, told_end
from tvmops.paths import state_dir
from tvmops.playbook.events import RunEvent

if TYPE_CHECKING:
    from tvmops.connection.session import AgentSession

POLL = 1.0  # seconds between looks at a busy board
UNHEARD = 20.0  # seconds without a word from a run's controller until it counts as lost
Tell = Callable[[str], None]
Lease = dict[str, Any]


@dataclass(frozen=True)
class Manners:
    """What to do about a busy board: wait so many seconds, or take it from a run whose lease is over.

    `timeout`: seconds that connecting may take where the host's variables do not say.
    """

    wait: float = 0.0
    steal: bool = False
    timeout: float | None = None


class Meeting:
    """A session's encounter with the other runs on its board."""

    def __init__(self, session: AgentSession, manners: Manners, tell: Tell, check_stop: Callable[[], None]) -> None:
        assert session.tag is not None
        self._session = session
        self._run, self._owner = session.tag.run, session.tag.owner
        self._manners = manners
        self._tell = tell
        self._check_stop = check_stop
        self._until: float | None = None  # from the first wait on: it is one wait, however many runs come between
        self._told = ""

    def settle(self, situation: dict[str, Any]) -> None:
        """Come to terms with the runs of a `situation` that the session's agent told of; the board is free then.

        Raises HostBusy, what `check_stop` raises when the run is to end, and what sessions raise.
        """
        while (lease := self._others(situation)) is not None:
            self._meet(lease)
            situation = self._session.status()
        for run in situation.get("finished") or ():
            if run.get("owner") == self._owner and run.get("run") != self._run:
                fetch(self._session, run, self._tell)

    def _others(self, situation: dict[str, Any]) -> Lease | None:
        lease = situation.get("lease")
        return lease if isinstance(lease, dict) and lease.get("run") != self._run else None

    def _meet(self, lease: Lease) -> None:
        """Do something about the run that holds the board, or wait a moment. Raises HostBusy."""
        self._check_stop()
        if self._manners.steal:
            self._steal()
        elif lease.get("owner") == self._owner and is_lost(lease) and lease.get("lasts") != 0:
            self._follow(lease)
        elif self._manners.wait > 0 and lease.get("lasts") != 0:
            self._wait(lease)
        else:
            raise busy(self._session.host.name, lease)

    def _steal(self) -> None:
        lease = self._session.steal()
        if lease is None:
            self._tell("the lease of the run before was over; the board is taken from it")
            return
        lasts = lease.get("lasts")
        when = "while its batch runs" if lasts is None else f"for {duration(lasts)} more"
        host = self._session.host.name
        raise HostBusy(
            f"{host}: --steal: the lease of {whose(lease)} lasts {when}",
            f"wait for it: --wait; watch it: tvmops attach --host {host}",
        )

    def _follow(self, lease: Lease) -> None:
        if not lease.get("running"):
            self._say(f"{whose(lease)} was cut off between two batches; the board is free when its agent has noticed")
            self._pause()
            return
        self._say(f"{whose(lease)} was cut off and goes on there; following it to its end")
        follow(self._session, str(lease.get("run")), self._tell_task, self._check_stop)

    def _tell_task(self, event: RunEvent) -> None:
        if event.kind == "task":
            self._tell(f"(earlier run) {event.task} ... {event.status}")

    def _wait(self, lease: Lease) -> None:
        now = time.monotonic()
        self._until = self._until or now + self._manners.wait
        if now >= self._until:
            error = busy(self._session.host.name, lease)
            raise HostBusy(f"{error.message}; waited {duration(self._manners.wait)}", error.hint)
        self._say(f"waiting for {whose(lease)}", key=f"{lease.get('run')} {lease.get('task')}")
        self._pause()

    def _pause(self) -> None:
        time.sleep(POLL)
        self._check_stop()

    def _say(self, text: str, key: str = "") -> None:
        if (key or text) != self._told:
            self._told = key or text
            self._tell(text)


def is_lost(lease: Lease) -> bool:
    """Whether nobody is at the other end of a run that holds a board."""
    return not lease.get("connected") or float(lease.get("heard") or 0.0) > UNHEARD


def follow(
    session: AgentSession, run: str, on_event: Callable[[RunEvent], None], check_stop: Callable[[], None] = lambda: None
) -> Replay:
    """Pass on a run's events, those to come included; what its record here lacks is added there."""
    replay = Replay(session.host.name)
    events: list[RunEvent] = []
    finished = False

    def take(event: dict[str, Any]) -> None:
        nonlocal finished
        check_stop()
        finished = event["ev"] == "batch_end" or (finished and event["ev"] in ("left", "tally"))
        for told in replay.take(event):
            events.append(told)
            on_event(told)

    session.follow(run, take)
    events.append(replay.end(finished))
    on_event(events[-1])
    add_to_record(run, session.host.name, events)
    return replay


def fetch(session: AgentSession, run: dict[str, Any], tell: Tell) -> None:
    """Take over what a lost run left: told, added to its record, and forgotten on the board."""
    name = str(run.get("run"))
    follow(session, name, lambda _event: None)
    tell(told_end(run))
    session.forget(name)


def add_to_record(run: str, host: str, events: list[RunEvent]) -> int:
    """Add to the run's record what it lacks, if it is here; how many events that were."""
    path = state_dir() / "runs" / run / host.replace("/", "_") / "events.jsonl"
    try:
        known = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    except (OSError, ValueError):
        return 0
    there = Counter(_key(event) for event in known)
    added = 0
    with path.open("a", encoding="utf-8") as record:
        for event in events:
            values = event.as_dict()
            if event.kind == "progress":
                continue
            if there[_key(values)] > 0:
                there[_key(values)] -= 1
                continue
            record.write(json.dumps({**values, "recovered": True}, default=str, ensure_ascii=False) + "\n")
            added += 1
    return added


def _key(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(values.get(name) for name in ("event", "task", "position", "label"))
