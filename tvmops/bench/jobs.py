"""A sweep's matrix of workloads x hosts as jobs, each named by the hash of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.bench.sweep_file import Measure, Sweep, Workload, plain
from tvmops.errors import ConfigError, ConfigErrors
from tvmops.inventory import Host
from tvmops.source import did_you_mean

# Part of every key: raise it when the same inputs no longer lead to the same work.
JOB_REVISION = 1

COMPILE, MEASURE, BASELINE = "compile", "measure", "baseline"

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


@dataclass(frozen=True)
class BoardIdentity:
    """Which machine answered under a host's name, and which runtime release it carries."""

    machine_id: str | None = None
    release: str | None = None


@dataclass(frozen=True)
class Job:
    """One unit of work. `inputs` decide its key; `needs` is the key of the compile job it depends on."""

    kind: str
    workload: str
    stack: str
    inputs: dict[str, Any]
    host: str | None = None
    needs: str | None = None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.inputs))

    @property
    def title(self) -> str:
        """How people see the job."""
        if self.host is None:
            return f"compile {self.workload} for {target_name(self.inputs['target'])}"
        verb = "measure" if self.kind == MEASURE else self.inputs["runtime"]
        return f"{verb} {self.workload} on {self.host}"


@dataclass(frozen=True)
class JobSet:
    """The jobs of one cell. `baseline` is None when the sweep wants none."""

    cell: Cell
    compile: Job
    measure: Job
    baseline: Job | None

    def jobs(self) -> list[Job]:
        """All of them, in the order they run."""
        return [job for job in (self.compile, self.measure, self.baseline) if job is not None]


def key_of(inputs: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of `inputs`: the same whatever the order of keys."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def expand(sweep: Sweep, hosts: Sequence[Host], stacks: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    """Every workload on every host. Raises ConfigErrors naming all impossible pairs at once.

    `stacks` maps the name of every known stack to its identity (pins).
    """
    errors: list[ConfigError] = []
    cells: list[Cell] = []
    for host in hosts:
        before = len(errors)
        stack = _stack(sweep, host, stacks, errors)
        target = _target(host, errors)
        compiler = _cross_compiler(host, target, errors) if target else None
        threads = _threads(sweep.measure, host, target, errors)
        _extras(sweep, host, stacks.get(stack), errors)
        if len(errors) == before:
            cells += [Cell(workload, host, stack, target, compiler, threads) for workload in sweep.workloads]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)
    return cells


def make_jobs(
    sweep: Sweep,
    cells: Sequence[Cell],
    stacks: Mapping[str, Mapping[str, Any]],
    boards: Mapping[str, BoardIdentity],
) -> list[JobSet]:
    """The jobs of every cell; cells that share a target and a compiler share their compile job."""
    sets = []
    for cell in cells:
        compile_job = _compile_job(cell, stacks[cell.stack])
        identity = boards.get(cell.host.name, BoardIdentity())
        measure = _measure_job(sweep.measure, cell, compile_job, identity)
        baseline = None
        if sweep.baseline != "none":
            baseline = _baseline_job(sweep, cell, compile_job, identity)
        sets.append(JobSet(cell, compile_job, measure, baseline))
    return sets


def target_name(target: Mapping[str, Any]) -> str:
    """A target in a word or two."""
    return str(target.get("mcpu") or target.get("mtriple") or target.get("tag") or target.get("kind"))


def _compile_job(cell: Cell, stack: Mapping[str, Any]) -> Job:
    inputs = {
        "revision": JOB_REVISION,
        "kind": COMPILE,
        "stack": _stack_identity(cell, stack),
        "workload": cell.workload.document,
        "target": plain(cell.target),
        "cross_compiler": cell.cross_compiler,
    }
    return Job(COMPILE, cell.workload.name, cell.stack, inputs)


def _stack_identity(cell: Cell, stack: Mapping[str, Any]) -> dict[str, Any]:
    """A stack's pins, of its extras only those that the workload needs."""
    identity = {key: plain(value) for key, value in stack.items() if key != "extras"}
    extra = source_extra(cell.workload)
    if extra is not None:
        identity["extra"] = {extra: plain((stack.get("extras") or {}).get(extra))}
    return identity


def source_extra(workload: Workload) -> str | None:
    """The extra of a stack that a workload's model needs."""
    return SOURCE_EXTRAS.get(str((workload.document.get("source") or {}).get("kind")))


def _measure_job(measure: Measure, cell: Cell, compile_job: Job, board: BoardIdentity) -> Job:
    inputs = {
        "revision": JOB_REVISION,
        "kind": MEASURE,
        "compile": compile_job.key,
        "measure": measure_settings(measure, cell.threads),
        "board": {"host": cell.host.name, "machine_id": board.machine_id, "release": board.release},
        "target": plain(cell.target),
    }
    return Job(MEASURE, cell.workload.name, cell.stack, inputs, cell.host.name, compile_job.key)


def _baseline_job(sweep: Sweep, cell: Cell, compile_job: Job, board: BoardIdentity) -> Job:
    # No stack, target or release: the other runtime's numbers stay good when TVM changes.
    inputs = {
        "revision": JOB_REVISION,
        "kind": BASELINE,
        "runtime": sweep.baseline,
        "workload": cell.workload.document,
        "measure": measure_settings(sweep.measure, cell.threads),
        "board": {"host": cell.host.name, "machine_id": board.machine_id},
    }
    return Job(BASELINE, cell.workload.name, cell.stack, inputs, cell.host.name, compile_job.key)


def measure_settings(measure: Measure, threads: int) -> dict[str, int]:
    """The `measure` object of job.json."""
    return {
        "warmup": measure.warmup,
        "repeat": measure.repeat,
        "number": measure.number,
        "min_repeat_ms": measure.min_repeat_ms,
        "threads": threads,
    }


# -- what makes a pair impossible ------------------------------------------------------------------------------


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


def machine(name: str) -> str:
    """One name per processor family, whatever a kernel, a triple or Debian calls it."""
    if name in ("x86_64", "amd64"):
        return "x86_64"
    if name in ("aarch64", "arm64"):
        return "aarch64"
    return "arm" if name.startswith("arm") else name


def _origin(host: Host, variable: str) -> str:
    return host.origins.get(variable, host.name)
