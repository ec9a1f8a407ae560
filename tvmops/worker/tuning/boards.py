"""Measures built trials on any number of boards, one session at a time each; without boards on this machine."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Dict, List, Optional

from ..failures import JobError
from .children import Child, ChildDied, ChildError, ChildTimeout
from .outcomes import Outcome, failed

RUNNING = ".tuning.running"
GRACE_SECONDS = 10.0  # what a session may take beyond a trial's limit, to come up and to end
PROBE_SECONDS = 30.0
ATTEMPTS = 2  # boards that one trial may take with it


class BoardLost(Exception):
    """The board does not answer any more."""


class Place:
    """One board (`rpc`: name, host, port, key), or this machine, with the child process that talks to it."""

    def __init__(self, rpc: Optional[Dict[str, Any]], module: str) -> None:
        self.rpc = rpc
        self.name = rpc["name"] if rpc else "this machine"
        self.child = Child(module)

    def run(self, request: Dict[str, Any], seconds: float) -> Outcome:
        """Runs a built trial. Raises BoardLost when the board is gone, which is not the trial's fault."""
        begin = time.monotonic()
        timeout = math.ceil(seconds) + 1
        try:
            asked = {**request, "rpc": self.rpc, "session_timeout": timeout}
            costs = self.child.call("run", asked, timeout + GRACE_SECONDS)
            return Outcome([float(cost) for cost in costs], time.monotonic() - begin)
        except ChildTimeout:
            outcome = failed("run_timeout", f"took more than {seconds:.0f} s", time.monotonic() - begin)
        except ChildDied as error:
            outcome = failed("run", f"the process {error}", time.monotonic() - begin)
        except ChildError as error:
            if error.kind == "NoSession":
                raise BoardLost(error.message) from error
            late = "RPCSessionTimeoutError" in error.kind or time.monotonic() - begin >= timeout
            outcome = failed("run_timeout" if late else "run", error.message, time.monotonic() - begin)
        self._must_answer()
        return outcome

    def _must_answer(self) -> None:
        if self.rpc is None:
            return
        try:
            self.child.call("probe", {"rpc": self.rpc, "patience": PROBE_SECONDS}, PROBE_SECONDS + GRACE_SECONDS)
        except (ChildTimeout, ChildDied, ChildError) as error:
            raise BoardLost(getattr(error, "message", "") or str(error) or "it gives no answer") from error


class Boards:
    """The places of one tuning run. A board that dies is left out; its trial goes to another one."""

    def __init__(self, boards: List[Dict[str, Any]], session_timeout: int = 300, module: str = RUNNING) -> None:
        self._places = [Place(board, module) for board in boards] or [Place(None, module)]
        self._free = list(self._places)
        self._lost: Dict[str, str] = {}
        self._changed = threading.Condition()
        self._session_timeout = session_timeout
        self.local = not boards

    def start(self) -> None:
        """All child processes come up at once."""
        for place in self._places:
            place.child.start()

    @property
    def count(self) -> int:
        """Boards that are left."""
        return len(self._places) - len(self._lost)

    @property
    def lost(self) -> Dict[str, str]:
        """Name and reason of each board that was left out."""
        return dict(self._lost)

    def run(self, request: Dict[str, Any], seconds: float) -> Outcome:
        """Measures on the next free board. Raises JobError (Rpc) when no board is left."""
        reason = ""
        for _ in range(ATTEMPTS):
            place = self._take()
            try:
                outcome = place.run(request, min(seconds, self._session_timeout))
            except BoardLost as error:
                reason = f"board {place.name}: {error}"
                self._leave_out(place, str(error))
                continue
            self._give_back(place)
            return outcome
        return failed("board", reason, 0.0)

    def ask(self, function: str, request: Dict[str, Any], seconds: float) -> Any:
        """Calls another function of the running module for a board. Raises JobError (Rpc)."""
        while True:
            place = self._take()
            try:
                answer = place.child.call(function, {**request, "rpc": place.rpc}, seconds)
            except (ChildError, ChildTimeout, ChildDied) as error:
                self._leave_out(place, str(error) or "it gives no answer")
                continue
            self._give_back(place)
            return answer

    def close(self) -> None:
        """Ends the child processes."""
        for place in self._places:
            place.child.kill()

    def _take(self) -> Place:
        with self._changed:
            while not self._free:
                if not self.count:
                    raise JobError("Rpc", self._nothing_left())
                self._changed.wait()
            return self._free.pop(0)

    def _give_back(self, place: Place) -> None:
        with self._changed:
            self._free.append(place)
            self._changed.notify()

    def _leave_out(self, place: Place, reason: str) -> None:
        with self._changed:
            self._lost[place.name] = reason
            place.child.kill()
            self._changed.notify_all()
        print(f"board {place.name} is left out: {reason}", flush=True)

    def _nothing_left(self) -> str:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(self._lost.items()))
        return (
            f"no board is left to tune on ({reasons}); restart the RPC servers and run again: what was measured is kept"
        )
