"""The gateway: a process on this machine that has a fleet's boards behind one tracker, until it is told to end.

Each board is a Lane, the tracker is beside or elsewhere. What runs is described in the state folder for others to
read; what happens goes to a log there.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from types import FrameType
from typing import IO

from tvmops.errors import RpcError, TvmopsError
from tvmops.rpc import gateway_files as files
from tvmops.rpc.gateway_tracker import GatewayTracker, TrackerBeside, TrackerElsewhere
from tvmops.rpc.lane import Lane
from tvmops.rpc.plan import GatewayPlan

STOP_SECONDS = 5.0  # for sessions that are cut and connections that are closed
LONGEST_LOG = 4 << 20  # bytes; what is longer when a gateway starts is put aside


def log(text: str) -> None:
    """A line with its time, for the log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Gateway:
    """One tracker and its lanes."""

    def __init__(self, plan: GatewayPlan) -> None:
        """Listens and starts the tracker. Raises RpcError, HostUnreachable."""
        self._plan = plan
        self._since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._stopping = threading.Event()
        self._writing = threading.Lock()
        self._tracker = _tracker(plan)
        self._lanes: list[Lane] = []
        try:
            for board in plan.boards:
                lane = Lane(
                    board,
                    plan.listen,
                    self._tracker.address,
                    session_seconds=plan.session_seconds,
                    report=self.report,
                    log=log,
                )
                self._lanes.append(lane)
        except OSError as error:
            self._tracker.stop()
            raise RpcError(f"{plan.listen}: cannot listen there: {error.strerror or error}") from error

    def run(self) -> None:
        """Serve until told to stop."""
        self.report()
        for lane in self._lanes:
            lane.start()
        self._stopping.wait()
        log("stopping")
        for lane in self._lanes:
            lane.stop()
        until = time.monotonic() + STOP_SECONDS
        for lane in self._lanes:
            lane.join(max(0.0, until - time.monotonic()))
        self._tracker.stop()
        with self._writing:
            files.forget(self._plan.name)
        log("stopped")

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """For a signal's handler."""
        self._stopping.set()

    def report(self) -> None:
        """Write down how it is."""
        with self._writing:
            if self._stopping.is_set():
                return
            where = self._plan.tracker_host
            files.write_state(
                files.GatewayState(
                    name=self._plan.name,
                    pid=os.getpid(),
                    since=self._since,
                    address=self._plan.listen,
                    tracker_port=self._plan.tracker_port,
                    tracker={"host": where.name if where else "", "problem": self._tracker.problem},
                    boards={lane.name: vars(lane.state) for lane in self._lanes},
                )
            )


def _tracker(plan: GatewayPlan) -> GatewayTracker:
    if plan.tracker_host is None:
        return TrackerBeside(plan.listen, plan.tracker_port, log)
    return TrackerElsewhere(plan.tracker_host, plan.remote_tracker_port, plan.listen, plan.tracker_port, log)


def main() -> None:
    """The gateway's process: its plan comes on standard input, how it began goes to standard output, one line each."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    plan = GatewayPlan.from_json(sys.stdin.read())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # some ten for each board
    held = files.hold(plan.name)
    if held is None:
        _answer(answer, RpcError("is up already"))
        return
    try:
        gateway = Gateway(plan)
    except TvmopsError as error:
        _answer(answer, error)
        return
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, gateway.stop)
    log(f"gateway '{plan.name}' (process {os.getpid()}): tracker on {plan.listen}:{plan.tracker_port}")
    gateway.report()
    _answer(answer, None)
    gateway.run()
    os._exit(0)  # threads may still be closing connections


def _answer(to: IO[str], error: TvmopsError | None) -> None:
    """Tell rpc.up how it went; that it has gone meanwhile does not matter."""
    document = {} if error is None else {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    with contextlib.suppress(OSError), to:
        to.write(json.dumps(document) + "\n")
