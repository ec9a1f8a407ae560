"""Every workload on every host of a sweep, resolved; pairs that cannot work are refused, all at once."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tvmops.bench.sweep_file import BASELINES, LEAST, Measure, Sweep, Workload, plain
from tvmops.errors import ConfigError, ConfigErrors
from tvmops.inventory import Host
from tvmops.source import did_you_mean

# Model sources that need packages beyond a stack's own: source kind -> the stack's extra.
SOURCE_EXTRAS = {"torch_package": "torch"}

# Debian's cross compilers: program -> package.
CROSS_COMPILER_PACKAGES = {
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "arm-linux-gnueabihf-g++": "g++-arm-linux-gnueabihf",
    "riscv64-linux-gnu-g++": "g++-riscv64-linux-gnu",
    "x86_64-linux-gnu-g++": "g++-x86-64-linux-gnu",
}
_CROSS_COMPILERS = {
    "aarch64": "aarch64-linux-gnu-g++",
    "arm": "arm-linux-gnueabihf-g++",
    "riscv64": "riscv64-linux-gnu-g++",
    "x86_64": "x86_64-linux-gnu-g++",
}


@dataclass(frozen=True)
class Cell:
    """One workload on one host, with all that was resolved for it before a board is touched."""

    workload: Workload
    host: Host
    stack: str
    target: Mapping[str, Any]
    cross_compiler: str | None
    threads: int
    measure: Measure = field(default_factory=Measure)
    baseline: str = "onnxruntime"


def expand(
    sweep: Sweep, hosts: Sequence[Host], stacks: Mapping[str, Mapping[str, Any]], repeat: int | None = None
) -> list[Cell]:
    """Every workload on every host. Raises ConfigErrors naming all impossible pairs at once.

    `stacks` maps the name of every known stack to its identity (pins). `repeat` is what the user asked for right now:
    it wins over sweep file and host.
    """
    errors: list[ConfigError] = []
    cells: list[Cell] = []
    for host in hosts:
        before = len(errors)
        stack = _stack(sweep, host, stacks, errors)
        target = _target(host, errors)
        compiler = _cross_compiler(host, target, errors) if target else None
        threads = _threads(sweep.measure, host, target, errors)
        measure = _measure(sweep.measure, host, errors)
        if repeat is not None:
            measure = replace(measure, repeat=repeat)
        baseline = _baseline(sweep, host, errors)
        _extras(sweep, host, stacks.get(stack), errors)
        if len(errors) == before:
            fixed = (host, stack, target, compiler, threads, measure, baseline)
            cells += [Cell(workload, *fixed) for workload in sweep.workloads]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)
    return cells


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
                f"{_origin(host, 'tvm_stack')}: {host.name} carries stack '{own}', but {sweep.path} wants '{name}'",
                "narrow the sweep with --limit, or leave 'stack:' out of the sweep so that each host's own is used",
            )
        )
    if name not in stacks:
        where = str(sweep.path) if sweep.stack else _origin(host, "tvm_stack")
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


def _target(host: Host, errors: list[ConfigError]) -> dict[str, Any]:
    target = host.vars.get("tvm_target")
    if target is None:
        hint = "give it one, e.g. tvm_target: {kind: llvm, mtriple: aarch64-linux-gnu, mcpu: cortex-a53, num-cores: 4}"
        errors.append(ConfigError(f"{host.name}: has no variable 'tvm_target'", hint))
        return {}
    if not isinstance(target, dict) or not (target.get("kind") or target.get("tag")):
        where = _origin(host, "tvm_target")
        errors.append(
            ConfigError(
                f"{where}: {host.name}: 'tvm_target' must be a mapping with 'kind' (or 'tag')",
                "TVM refuses target strings: write {kind: llvm, mcpu: cortex-a53} for 'llvm -mcpu=cortex-a53'",
            )
        )
        return {}
    return dict(plain(target))


def _cross_compiler(host: Host, target: Mapping[str, Any], errors: list[ConfigError]) -> str | None:
    own, wanted = machine(platform.machine()), machine(str(target.get("mtriple", platform.machine())).split("-")[0])
    compiler = host.vars.get("tvm_cross_compiler")
    if compiler is None:
        if own == wanted:
            return None
        needed = _CROSS_COMPILERS.get(wanted, f"{wanted}-linux-gnu-g++")
        errors.append(
            ConfigError(
                f"{host.name}: is {wanted}, this machine is {own}, and no 'tvm_cross_compiler' is given",
                f"give the host tvm_cross_compiler: {needed}",
            )
        )
        return None
    if shutil.which(str(compiler)) is None:
        package = CROSS_COMPILER_PACKAGES.get(str(compiler))
        errors.append(
            ConfigError(
                f"{host.name}: cross compiler '{compiler}' is not installed on this machine",
                f"install it: sudo apt-get install {package}" if package else "install it or correct the variable",
            )
        )
    return str(compiler)


def _threads(measure: Measure, host: Host, target: Mapping[str, Any], errors: list[ConfigError]) -> int:
    value = measure.threads or host.vars.get("tvm_threads") or target.get("num-cores") or 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        where = _origin(host, "tvm_threads")
        errors.append(ConfigError(f"{where}: {host.name}: threads must be a whole number above 0, not {value!r}"))
        return 1
    return value


def _measure(measure: Measure, host: Host, errors: list[ConfigError]) -> Measure:
    """The sweep's settings with those that the host has of its own in their place."""
    own = host.vars.get("tvm_measure")
    if own is None:
        return measure
    where = f"{_origin(host, 'tvm_measure')}: {host.name}: 'tvm_measure'"
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


def _baseline(sweep: Sweep, host: Host, errors: list[ConfigError]) -> str:
    """What to compare with; a host may have its own, or none."""
    own = host.vars.get("tvm_baseline", sweep.baseline)
    if own not in BASELINES:
        where = _origin(host, "tvm_baseline")
        hint = did_you_mean(str(own), BASELINES)
        errors.append(ConfigError(f"{where}: {host.name}: unknown baseline '{own}' in 'tvm_baseline'", hint))
    return "none" if "none" in (own, sweep.baseline) else str(own)


def machine(name: str) -> str:
    """One name per processor family, whatever a kernel, a triple or Debian calls it."""
    if name in ("x86_64", "amd64"):
        return "x86_64"
    if name in ("aarch64", "arm64"):
        return "aarch64"
    return "arm" if name.startswith("arm") else name


def _origin(host: Host, variable: str) -> str:
    return host.origins.get(variable, host.name)
