"""Bringing a gateway up and taking it down, from a command."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tvmops import errors
from tvmops.errors import ConfigError, RpcError
from tvmops.rpc import gateway_files as files
from tvmops.rpc.gateway import LONGEST_LOG
from tvmops.rpc.gateway_files import GatewayState
from tvmops.rpc.lane import STARTING
from tvmops.rpc.plan import GatewayPlan

BEGIN_SECONDS = 60.0  # for its process to have its tracker, or to say why not
DOWN_SECONDS = 15.0
POLL_SECONDS = 0.1
# Run with -I, so that neither the environment nor the working folder can bring other modules in.
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tvmops.rpc.gateway import main; main()"


def bring_up(plan: GatewayPlan) -> tuple[GatewayState, bool]:
    """The gateway of this plan, and whether it was started now.

    Raises ConfigError when one of this name has other boards or ports, RpcError and kin when it cannot begin.
    """
    found = files.gateway(plan.name)
    if found is None and _start(plan):
        return _described(plan.name), True
    found = found or _described(plan.name)
    _same(found, plan)
    return found, False


def wait_until_settled(name: str, seconds: float, on_board: Callable[[str, dict[str, object]], None]) -> GatewayState:
    """Wait until no board is starting any longer, `seconds` at most; `on_board` is told each as it settles.

    Raises RpcError when the gateway ends meanwhile.
    """
    until = time.monotonic() + seconds
    told: set[str] = set()
    while True:
        state = _described(name)
        for board, one in state.boards.items():
            if one["state"] != STARTING and board not in told:
                told.add(board)
                on_board(board, one)
        if len(told) == len(state.boards) or time.monotonic() > until:
            return state
        time.sleep(POLL_SECONDS)


def take_down(state: GatewayState) -> None:
    """End a gateway: its sessions are cut, its boards' leases returned. Raises RpcError when it cannot be ended."""
    for number, seconds in ((signal.SIGTERM, DOWN_SECONDS), (signal.SIGKILL, DOWN_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            if files.is_gateway(state.pid):
                os.kill(state.pid, number)
        until = time.monotonic() + seconds
        while files.alive(state.name):
            if time.monotonic() > until:
                break
            time.sleep(POLL_SECONDS)
        else:
            files.forget(state.name)
            return
    raise RpcError(f"gateway '{state.name}' (process {state.pid}) does not end", f"see {files.log_path(state.name)}")


def _start(plan: GatewayPlan) -> bool:
    """Start the process; False when another command was quicker. Raises what hindered it."""
    path = files.log_path(plan.name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        if path.stat().st_size > LONGEST_LOG:
            path.replace(path.with_suffix(".log.old"))
    argv = [sys.executable, "-I", "-c", PROGRAM, json.dumps([one for one in sys.path if one]), plan.name]
    environment = {name: value for name, value in os.environ.items() if name != "TVMOPS_WARM"}
    with path.open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True, env=environment
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(plan.to_json().encode())
        if not select.select([process.stdout], [], [], BEGIN_SECONDS)[0]:
            raise RpcError(f"the gateway did not begin within {BEGIN_SECONDS:.0f} s", f"see {path}")
        with process.stdout as stdout:
            line = stdout.readline()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return _began(line, str(path))


def _began(line: bytes, log: str) -> bool:
    if not line:
        raise RpcError("the gateway ended before it began", f"see {log}")
    answer = json.loads(line)
    if not answer:
        return True
    if answer["message"] == "is up already":
        return False
    kind = getattr(errors, answer["error"], RpcError)
    raise kind(answer["message"], answer["hint"])


def _described(name: str) -> GatewayState:
    until = time.monotonic() + BEGIN_SECONDS
    while (state := files.gateway(name)) is None:
        if not files.alive(name) or time.monotonic() > until:
            raise RpcError(f"gateway '{name}' has ended", f"see {files.log_path(name)}")
        time.sleep(POLL_SECONDS)
    return state


def _same(found: GatewayState, plan: GatewayPlan) -> None:
    """Raises ConfigError when what is up is not what is wanted."""
    wanted = {board.host.name: board.key for board in plan.boards}
    up = {name: board["key"] for name, board in found.boards.items()}
    host = plan.tracker_host.name if plan.tracker_host else ""
    different = []
    if up != wanted:
        different.append("boards " + ", ".join(f"{name} ({key})" for name, key in up.items()))
    if (found.address, found.tracker_port) != (plan.listen, plan.tracker_port):
        different.append(f"its tracker on {found.address}:{found.tracker_port}")
    if found.tracker["host"] != host:
        different.append(f"the tracker of {found.tracker['host'] or 'this machine'}")
    if different:
        raise ConfigError(
            f"gateway '{found.name}' is up since {found.since} with {' and '.join(different)}",
            f"to change it, end it first: tvmops rpc.down --group {found.name}",
        )
