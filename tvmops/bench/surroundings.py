"""What a sweep uses of the other parts: stacks, their environments, boards and their RPC servers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmops.bench.board import HostBoard
from tvmops.bench.cells import source_extra
from tvmops.bench.jobs import TUNING_EXTRA
from tvmops.bench.pool import WorkerCommand
from tvmops.bench.runner import Board, Emit
from tvmops.bench.sweep import Surroundings
from tvmops.bench.sweep_file import Sweep
from tvmops.inventory import Host
from tvmops.rpc import BoardRpc
from tvmops.stack.environment import ensure_environment
from tvmops.stack.spec import Stack, load_stack, stack_names

WORKER = Path(__file__).resolve().parent.parent / "worker"
SHOWN_PROGRESS = ("making", "waiting", "Collecting", "Installing")


def stack_identity(stack: Stack) -> dict[str, Any]:
    """All of a stack that decides what its compiler makes."""
    python = ".".join(platform.python_version_tuple()[:2])
    own = {str(pin) for pin in stack.pins(python)}
    extras = {name: sorted({str(pin) for pin in stack.pins(python, (name,))} - own) for name in stack.extras}
    return {
        "name": stack.name,
        "api": stack.api,
        "version": stack.version,
        "python": python,
        "pins": sorted(own),
        "extras": extras,
    }


def known_stacks(sweep: Sweep, hosts: Sequence[Host]) -> dict[str, Mapping[str, Any]]:
    """Name -> identity of every stack file; only those that this sweep could use are read. Raises ConfigError."""
    used = {sweep.stack, *(host.vars.get("tvm_stack") for host in hosts)}
    return {name: stack_identity(load_stack(name)) if name in used else {} for name in stack_names()}


def worker_command(name: str, extras: Sequence[str], emit: Emit) -> WorkerCommand:
    """How the worker of stack `name` is started, its environment made first. Raises StackError."""
    stack = load_stack(name)
    extras = [extra for extra in extras if extra in stack.extras]

    def show(text: str) -> None:
        if text.startswith(SHOWN_PROGRESS):
            emit({"event": "environment", "stack": name, "text": text.split(" (from ", maxsplit=1)[0]})

    python = ensure_environment(stack, extras, show)
    return WorkerCommand([str(python), str(WORKER), "--backend", stack.api])


def needed_extras(sweep: Sweep) -> list[str]:
    """The extras that the sweep's workloads and tuning need: all of them, so that one worker serves the whole sweep."""
    extras = {extra for workload in sweep.workloads if (extra := source_extra(workload)) is not None}
    return sorted(extras | ({TUNING_EXTRA} if any(choice.searches for choice in sweep.tuning) else set()))


def real_surroundings(sweep: Sweep, hosts: Sequence[Host]) -> Surroundings:
    """Stacks from stack files, boards behind connections. Raises ConfigError for a stack file that is wrong."""
    extras = needed_extras(sweep)
    return Surroundings(
        stacks=known_stacks(sweep, hosts),
        worker_command=lambda name, emit: worker_command(name, extras, emit),
        make_board=_board,
    )


def _board(host: Host, emit: Emit) -> Board:
    def show(text: str) -> None:
        emit({"event": "board", "host": host.name, "text": text})

    return HostBoard(host, BoardRpc(lambda name: load_stack(name).version, show))
