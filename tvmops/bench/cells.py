"""Every workload on every host of a sweep, resolved; pairs that cannot work are refused, all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

from tvmops.bench import targets, vta
from tvmops.bench.boundaries import misfits
from tvmops.bench.sweep_file import BASELINES, LEAST, Measure, Sweep, Workload
from tvmops.bench.targets import origin
from tvmops.bench.tuning_choice import NO_TUNING, TuneSettings, TuningChoice
from tvmops.errors import ConfigError, ConfigErrors
from tvmops.inventory import Host
from tvmops.source import did_you_mean

# Model sources that need packages beyond a stack's own: source kind -> the stack's extra.
SOURCE_EXTRAS = {"torch_package": "torch", "torch": "torch", "gluon": "mxnet"}


@dataclass(frozen=True)
class Cell:
    """One workload on one host in one variant, with all that was resolved for it before a board is touched."""

    workload: Workload
    host: Host
    stack: str
    target: Mapping[str, Any]
    cross_compiler: str | None
    threads: int
    measure: Measure = field(default_factory=Measure)
    baselines: tuple[str, ...] = ("onnxruntime",)
    target_name: str = "default"
    mode: str = "rpc"
    tuning: TuningChoice = NO_TUNING
    tune: TuneSettings = field(default_factory=TuneSettings)
    profile: bool = False

    @property
    def variant(self) -> dict[str, str]:
        """What sets it apart from other cells of the same workload and host; only what is not the default."""
        found = {"target": self.target_name, "mode": self.mode, "tuning": self.tuning.name}
        return {axis: value for axis, value in found.items() if value != DEFAULT_VARIANT[axis]}


DEFAULT_VARIANT = {"target": "default", "mode": "rpc", "tuning": "none"}


class _Resolved(NamedTuple):
    target: dict[str, Any]
    cross_compiler: str | None
    threads: int


def _simulated(resolved: _Resolved) -> _Resolved:
    """The simulator runs in a worker's process on this machine, whatever processor the host has."""
    return _Resolved(dict(vta.SIMULATED), None, resolved.threads)


def expand(
    sweep: Sweep,
    hosts: Sequence[Host],
    stacks: Mapping[str, Mapping[str, Any]],
    repeat: int | None = None,
    *,
    profile: bool = False,
) -> list[Cell]:
    """Every variant of every workload on every host. Raises ConfigErrors naming all impossible pairs at once.

    `stacks` maps the name of every known stack to its identity (pins). `repeat` is what the user asked for right now:
    it wins over sweep file and host.
    """
    errors: list[ConfigError] = []
    cells: list[Cell] = []
    for host in hosts:
        before = len(errors)
        stack = _stack(sweep, host, stacks, errors)
        resolved = {name: _resolve(sweep, host, name, errors) for name in sweep.targets}
        measure = _measure(sweep.measure, host, errors)
        if repeat is not None:
            measure = replace(measure, repeat=repeat)
        baselines = _baselines(sweep, host, errors)
        _extras(sweep, host, stacks.get(stack), errors)
        errors += misfits(sweep, host, stacks.get(stack) or {})
        if len(errors) == before:
            for workload, name, mode, tuning in product(sweep.workloads, sweep.targets, sweep.modes, sweep.tuning):
                cells.append(
                    Cell(
                        workload,
                        host,
                        stack,
                        *(_simulated(resolved[name]) if mode == "sim" else resolved[name]),
                        measure,
                        baselines,
                        name,
                        mode,
                        tuning,
                        sweep.tune,
                        profile,
                    )
                )
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)
    return cells


def _resolve(sweep: Sweep, host: Host, name: str, errors: list[ConfigError]) -> _Resolved:
    target = targets.target_of(host, name, errors)
    compiler = targets.cross_compiler(host, target, errors) if target else None
    return _Resolved(target, compiler, targets.threads(sweep.measure, host, target, errors))


def source_extra(workload: Workload) -> str | None:
    """The extra of a stack that a workload's model needs."""
    return SOURCE_EXTRAS.get(str((workload.document.get("source") or {}).get("kind")))


def _stack(sweep: Sweep, host: Host, stacks: Mapping[str, object], errors: list[ConfigError]) -> str:
    own = host.vars.get("tvm_stack")
    name = sweep.stack or own
    if name is None:
        errors.append(
            ConfigError(
                f"{host.name}: no stack: neither {sweep.path} nor the host's variables name one",
                f"give 'stack:' in the sweep or 'tvm_stack:' to the host; known: {', '.join(sorted(stacks))}",
            )
        )
        return ""
    if own is not None and own != name:
        errors.append(
            ConfigError(
                f"{origin(host, 'tvm_stack')}: {host.name} carries stack '{own}', but {sweep.path} wants '{name}'",
                "narrow the sweep with --limit, or leave 'stack:' out of the sweep so that each host's own is used",
            )
        )
    if name not in stacks:
        where = str(sweep.path) if sweep.stack else origin(host, "tvm_stack")
        errors.append(ConfigError(f"{where}: {host.name}: unknown stack '{name}'", did_you_mean(str(name), stacks)))
    return str(name)


def _extras(sweep: Sweep, host: Host, stack: Mapping[str, Any] | None, errors: list[ConfigError]) -> None:
    known = (stack or {}).get("extras") or {}
    for workload in sweep.workloads:
        extra = source_extra(workload)
        if stack is not None and extra is not None and extra not in known:
            errors.append(
                ConfigError(
                    f"{workload.position}: workload '{workload.name}' needs the extra '{extra}', which the stack of "
                    f"{host.name} does not have",
                    did_you_mean(extra, known) or "narrow the sweep with --workload or --limit",
                )
            )


def _measure(measure: Measure, host: Host, errors: list[ConfigError]) -> Measure:
    """The sweep's settings with those that the host has of its own in their place."""
    own = host.vars.get("tvm_measure")
    if own is None:
        return measure
    where = f"{origin(host, 'tvm_measure')}: {host.name}: 'tvm_measure'"
    known = [key for key in LEAST if key != "threads"]
    if not isinstance(own, dict):
        errors.append(ConfigError(f"{where} must be a mapping", f"keys: {', '.join(known)}"))
        return measure
    for key, value in own.items():
        if key == "threads":
            errors.append(ConfigError(f"{where}: threads have a variable of their own", "write tvm_threads: N"))
        elif key not in known:
            errors.append(ConfigError(f"{where}: unknown key '{key}'", did_you_mean(str(key), known)))
        elif isinstance(value, bool) or not isinstance(value, int) or value < LEAST[key]:
            message = f"{where}: '{key}' must be a whole number of at least {LEAST[key]}, not {value!r}"
            errors.append(ConfigError(message))
    usable = {key: value for key, value in own.items() if key in known and isinstance(value, int)}
    return replace(measure, **usable)


def _baselines(sweep: Sweep, host: Host, errors: list[ConfigError]) -> tuple[str, ...]:
    """What to compare with; a host may have its own (`tvm_baseline`), or none."""
    own = host.vars.get("tvm_baseline", list(sweep.baselines))
    names = own if isinstance(own, list) else [own]
    for name in names:
        if name not in ("none", *BASELINES):
            where = origin(host, "tvm_baseline")
            hint = did_you_mean(str(name), BASELINES)
            errors.append(ConfigError(f"{where}: {host.name}: unknown baseline '{name}' in 'tvm_baseline'", hint))
    return () if "none" in names or not sweep.baselines else tuple(str(name) for name in names)
