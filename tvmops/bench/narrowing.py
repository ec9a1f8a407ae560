"""What the command line changes about a sweep: fewer workloads, targets, modes and tunings, other budgets."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvmops.bench.sweep_file import MODES, Sweep
from tvmops.bench.tuning_choice import choice
from tvmops.errors import ConfigError
from tvmops.source import did_you_mean


@dataclass(frozen=True)
class Options:
    """The options; None leaves what the file says. `trials` is per task, `tasks` how many are tuned."""

    workloads: str | None = None
    targets: str | None = None
    modes: str | None = None
    tuning: str | None = None
    trials: int | None = None
    tasks: int | None = None
    repeat: int | None = None
    profile: bool = False
    force: bool = False


def narrowed(sweep: Sweep, options: Options) -> Sweep:
    """The sweep as the options want it. Raises ConfigError."""
    for option, value in (("repeat", options.repeat), ("trials", options.trials), ("tasks", options.tasks)):
        if value is not None and value < 1:
            raise ConfigError(f"--{option} {value}: at least one is needed")
    if options.repeat is not None:
        sweep = replace(sweep, measure=replace(sweep.measure, repeat=options.repeat))
    if options.trials is not None:
        sweep = replace(sweep, tune=replace(sweep.tune, trials=options.trials))
    if options.tasks is not None:
        sweep = replace(sweep, tune=replace(sweep.tune, tasks=options.tasks))
    if options.targets is not None:
        sweep = replace(sweep, targets=tuple(_words(options.targets)))
    if options.modes is not None:
        sweep = replace(sweep, modes=tuple(_modes(options.modes)))
    if options.tuning is not None:
        sweep = replace(sweep, tuning=tuple(choice(word, Path.cwd()) for word in _words(options.tuning)))
    return _only(sweep, options.workloads) if options.workloads is not None else sweep


def _only(sweep: Sweep, globs: str) -> Sweep:
    patterns = _words(globs)
    names = [workload.name for workload in sweep.workloads]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(f"--workload {pattern}: no such workload in {sweep.path}", did_you_mean(pattern, names))
    return replace(
        sweep,
        workloads=tuple(w for w in sweep.workloads if any(fnmatch.fnmatch(w.name, p) for p in patterns)),
    )


def _modes(text: str) -> Sequence[str]:
    for word in _words(text):
        if word not in MODES:
            raise ConfigError(f"--mode {word}: no such mode", did_you_mean(word, MODES))
    return _words(text)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    return list(dict.fromkeys(words)) or [""]
