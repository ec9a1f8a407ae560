"""The commands sweep, report and results with one stack more: `fake-1`, whose worker multiplies matrices without TVM.

Everything else is what users run: command line, inventory, connections, agent, worker processes, store, reports.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from invoke import Collection, Program

from tvmops.bench import surroundings
from tvmops.bench.board import HostBoard, NoRpc
from tvmops.bench.pool import WorkerCommand
from tvmops.bench.sweep import Surroundings
from tvmops.bench.sweep_file import Sweep
from tvmops.cli import report, sweep
from tvmops.inventory import Host


def with_fake_stack(wanted: Sweep, hosts: Sequence[Host]) -> Surroundings:
    """As the real ones, with the fake stack beside them."""
    command = [sys.executable, str(surroundings.WORKER), "--backend", "fake"]
    return Surroundings(
        stacks={**surroundings.known_stacks(wanted, hosts), "fake-1": {"name": "fake-1", "pins": []}},
        worker_command=lambda stack, emit: WorkerCommand(command),
        make_board=lambda host, emit: HostBoard(host, NoRpc()),
    )


surroundings.real_surroundings = with_fake_stack
Program(name="tvmops", namespace=Collection(*sweep.COMMANDS, *report.COMMANDS)).run()
