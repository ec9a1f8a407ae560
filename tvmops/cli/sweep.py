"""The command `sweep`: compile and measure what is missing, with progress, and keep it."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load
from tvmops.cli.extra_vars import tell_hosts
from tvmops.cli.provision import HELP

NOT_GIVEN = -1  # Invoke needs a number to know that an option is one


@command(
    positional=["file"],
    iterable=["extra_vars"],
    help={
        "file": "sweep file, or its name in sweeps/",
        "inventory": INVENTORY_HELP,
        "host": HOST_HELP + " (default: what the sweep file says)",
        "limit": "narrow the hosts further",
        "workload": "only workloads whose name matches: a glob, several with commas",
        "target": "only these targets of the hosts: default, gpu, ...; several with commas",
        "mode": "instead of the file's modes: rpc, local, sim; several with commas",
        "tuning": "instead of the file's tuning: none, tophub, log:FILE, autotvm, ansor, meta_schedule; with commas",
        "trials": "trials per task while tuning, instead of the sweep file's number",
        "tasks": "how many tasks are tuned, the heaviest first, instead of the sweep file's number",
        "profile": "also time every operator of a model",
        "extra-vars": HELP["extra-vars"],
        "json_": "events as JSON, one per line",
        "repeat": "samples per measurement, instead of the sweep file's number",
        "force": "run again what is stored, compiles included",
        "store": "where results are kept, as SQLAlchemy URL (default: .tvmops/results.sqlite)",
    },
)
def sweep(
    ctx: Any,
    *,
    file: str,
    inventory: str | None = None,
    host: str | None = None,
    limit: str | None = None,
    workload: str | None = None,
    target: str | None = None,
    mode: str | None = None,
    tuning: str | None = None,
    trials: int = NOT_GIVEN,
    tasks: int = NOT_GIVEN,
    profile: bool = False,
    extra_vars: list[str] | None = None,
    json_: bool = False,
    repeat: int = NOT_GIVEN,
    force: bool = False,
    store: str | None = None,
) -> None:
    """Compile and measure a sweep's workloads on its hosts; what is stored is not run again."""
    from tvmops.bench.narrowing import Options, narrowed
    from tvmops.bench.store import Store
    from tvmops.bench.surroundings import real_surroundings
    from tvmops.bench.sweep import run_sweep
    from tvmops.bench.sweep_file import load_sweep
    from tvmops.cli.sweep_view import make_view

    signal.signal(signal.SIGTERM, _as_interrupt)
    options = Options(
        workloads=workload,
        targets=target,
        modes=mode,
        tuning=tuning,
        trials=_given(trials),
        tasks=_given(tasks),
        repeat=_given(repeat),
        profile=profile,
        force=force,
    )
    wanted = narrowed(load_sweep(file), options)
    hosts = load(inventory).select(host or wanted.hosts, limit)
    tell_hosts(hosts, extra_vars)
    results = Store(store)
    try:
        with make_view(json_, sys.stdout) as view:
            result = run_sweep(
                wanted, hosts, options, around=real_surroundings(wanted, hosts), store=results, emit=view.emit
            )
    finally:
        results.close()
    result.raise_if_bad()


def _given(number: int) -> int | None:
    return None if number == NOT_GIVEN else number


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


COMMANDS = [sweep]
