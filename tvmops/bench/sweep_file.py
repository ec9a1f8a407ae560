"""Reads `sweeps/*.yml`: which workloads on which hosts, measured how. All the faults of a file are shown at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.bench import fields, sources
from tvmops.bench.fields import kind_of, plain
from tvmops.bench.tuning_choice import NO_TUNING, TuneSettings, TuningChoice, read_choices, read_settings
from tvmops.errors import ConfigError
from tvmops.paths import find_project_file
from tvmops.source import Map, Position, Problems, Seq, did_you_mean, load_yaml

BASELINES = ("onnxruntime", "torch", "mxnet", "trtexec", "trtexec-fp16")
MODES = ("rpc", "local", "sim")
SWEEP_KEYS = (
    "name",
    "description",
    "stack",
    "hosts",
    "targets",
    "modes",
    "tuning",
    "tune",
    "measure",
    "baseline",
    "references",
    "timeouts",
    "workloads",
)
WORKLOAD_KEYS = ("name", "description", "source", "inputs", "task", "tolerance", "options")
# The settings of `measure`, each with its smallest value.
LEAST = {"warmup": 0, "repeat": 1, "number": 1, "min_repeat_ms": 0, "threads": 1}
DTYPES = ("float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(frozen=True)
class Measure:
    """How one measurement is taken. Each of `repeat` samples is the mean of enough runs to fill `min_repeat_ms`."""

    warmup: int = 3
    repeat: int = 20
    number: int = 1
    min_repeat_ms: int = 50
    threads: int | None = None


@dataclass(frozen=True)
class Timeouts:
    """Deadlines per job, in seconds; `board` is how long a sweep waits for a board that another sweep holds."""

    compile: float = 900.0
    tune: float = 43200.0
    measure: float = 600.0
    baseline: float = 300.0
    board: float = 1800.0


@dataclass(frozen=True)
class Workload:
    """A model with its inputs. `document` is the `workload` object of job.json, as the worker reads it."""

    name: str
    document: Mapping[str, Any]
    position: Position
    description: str = ""


@dataclass(frozen=True)
class Reference:
    """Numbers of others to show beside ours: seconds per inference by workload, and where they are from."""

    label: str
    source: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Sweep:
    """One sweep file. Its jobs are the product of workloads, hosts, targets (by name), modes and tuning."""

    name: str
    path: Path
    description: str
    stack: str | None
    hosts: str
    workloads: tuple[Workload, ...]
    measure: Measure = field(default_factory=Measure)
    timeouts: Timeouts = field(default_factory=Timeouts)
    baselines: tuple[str, ...] = ("onnxruntime",)
    targets: tuple[str, ...] = ("default",)
    modes: tuple[str, ...] = ("rpc",)
    tuning: tuple[TuningChoice, ...] = (NO_TUNING,)
    tune: TuneSettings = field(default_factory=TuneSettings)
    references: tuple[Reference, ...] = ()


def load_sweep(name: str) -> Sweep:
    """The sweep in file `name` (a path, or a name in sweeps/). Raises ConfigError with every fault found."""
    path = _find(name)
    data = load_yaml(path)
    problems = Problems()
    top = Position(str(path), 1)
    if not isinstance(data, Map):
        raise ConfigError(f"{top}: a sweep file is a mapping", f"it has the keys {', '.join(SWEEP_KEYS)}")
    fields.refuse_unknown(data, SWEEP_KEYS, "sweep key", problems)
    sweep = Sweep(
        name=_name(data, problems, default=path.stem),
        path=path,
        description=fields.text(data, "description", problems),
        stack=fields.text(data, "stack", problems) or None,
        hosts=fields.text(data, "hosts", problems) or "all",
        baselines=baselines(data, "baseline", problems),
        targets=fields.choices(data, "targets", (), ("default",), problems),
        modes=fields.choices(data, "modes", MODES, ("rpc",), problems),
        tuning=read_choices(data, path.parent, problems),
        tune=read_settings(data, problems),
        references=_references(data, problems),
        measure=_measure(data, problems),
        timeouts=_timeouts(data, problems),
        workloads=_workloads(data, problems),
    )
    problems.raise_if_any()
    return sweep


def _find(name: str) -> Path:
    candidates = [name] if name.endswith((".yml", ".yaml")) or "/" in name else [f"sweeps/{name}.yml", name]
    for candidate in candidates:
        path = find_project_file(candidate)
        if path.is_file():
            return path
    shipped = sorted(path.stem for path in find_project_file("sweeps").glob("*.yml"))
    raise ConfigError(f"{name}: no such sweep file", did_you_mean(Path(name).stem, shipped))


def _name(data: Map, problems: Problems, default: str = "") -> str:
    value = data.get("name", default)
    if not isinstance(value, str) or not _NAME.match(value):
        problems.add(data.at("name"), "'name' must be one word of letters, digits, '.', '_' and '-'")
        return str(value)
    return value


def baselines(data: Map, key: str, problems: Problems) -> tuple[str, ...]:
    """The runtimes to compare with under `key`: none, one or a list."""
    found = fields.choices(data, key, ("none", *BASELINES), ("onnxruntime",), problems)
    return tuple(name for name in found if name != "none")


def _measure(data: Map, problems: Problems) -> Measure:
    section = fields.section(data, "measure", tuple(LEAST), problems)
    values: dict[str, int] = {}
    for key, least in LEAST.items():
        if section.get(key) is None:
            continue
        if fields.whole_number(section, key, least, problems):
            values[key] = section[key]
    return Measure(**values)


def _timeouts(data: Map, problems: Problems) -> Timeouts:
    known = tuple(Timeouts.__dataclass_fields__)
    section = fields.section(data, "timeouts", known, problems)
    given = {key: fields.seconds(section, key, problems) for key in known}
    return Timeouts(**{key: value for key, value in given.items() if value is not None})


def _references(data: Map, problems: Problems) -> tuple[Reference, ...]:
    """A list of {label, source, milliseconds: {workload: number}}."""
    items = data.get("references")
    if items is None:
        return ()
    if not isinstance(items, Seq) or not all(isinstance(item, Map) for item in items):
        problems.add(data.at("references"), "'references' must be a list of mappings", "label, source, milliseconds")
        return ()
    found = []
    for item in items:
        fields.refuse_unknown(item, ("label", "source", "milliseconds"), "key of a reference", problems)
        numbers = item.get("milliseconds")
        good = isinstance(numbers, Map) and all(type(value) in (int, float) and value > 0 for value in numbers.values())
        if not good or not item.get("label"):
            problems.add(item.position, "a reference needs a 'label' and 'milliseconds' by workload")
            continue
        seconds = {str(name): value / 1000 for name, value in numbers.items()}
        label, source = fields.text(item, "label", problems), fields.text(item, "source", problems)
        found.append(Reference(label, source, seconds))
    return tuple(found)


def _workloads(data: Map, problems: Problems) -> tuple[Workload, ...]:
    items = data.get("workloads")
    if not isinstance(items, Seq) or not items:
        problems.add(data.at("workloads"), "'workloads' must be a list with at least one workload")
        return ()
    found: dict[str, Workload] = {}
    for item, position in zip(items, items.items_at, strict=True):
        if not isinstance(item, Map):
            problems.add(position, f"a workload is a mapping, not {kind_of(item)}", f"keys: {', '.join(WORKLOAD_KEYS)}")
            continue
        workload = _workload(item, problems)
        if workload.name in found:
            first = found[workload.name].position.line
            problems.add(item.at("name"), f"workload '{workload.name}' is given twice (first at line {first})")
        found[workload.name] = workload
    return tuple(found.values())


def _workload(item: Map, problems: Problems) -> Workload:
    fields.refuse_unknown(item, WORKLOAD_KEYS, "workload key", problems)
    if "name" not in item:
        problems.add(item.position, "a workload needs a 'name'")
    source = item.get("source")
    if not isinstance(source, Map) or not isinstance(source.get("kind"), str):
        problems.add(item.at("source"), "'source' must be a mapping with a 'kind'", "e.g. kind: wheel")
    _check_inputs(item, problems)
    for key in ("task", "tolerance", "options"):
        if item.get(key) is not None and not isinstance(item[key], Map):
            problems.add(item.at(key), f"'{key}' must be a mapping, not {kind_of(item[key])}")
    document = {key: plain(value) for key, value in item.items() if key != "description"}
    if isinstance(source, Map):
        document["source"] = sources.source_document(source, problems)
    if isinstance(item.get("task"), Map):
        document["task"] = sources.task_document(item["task"], problems)
    name = _name(item, problems) if "name" in item else ""
    return Workload(name, document, item.position, fields.text(item, "description", problems))


def _check_inputs(item: Map, problems: Problems) -> None:
    inputs = item.get("inputs")
    if inputs is None:
        return
    if not isinstance(inputs, Map):
        problems.add(item.at("inputs"), "'inputs' must map each input's name to its shape and dtype")
        return
    for name, spec in inputs.items():
        if not isinstance(spec, Map):
            problems.add(inputs.at(name), f"input '{name}' must be a mapping with 'shape' and 'dtype'")
            continue
        shape = spec.get("shape")
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            problems.add(spec.at("shape"), f"the shape of '{name}' must be a list of whole numbers above 0")
        if spec.get("dtype") not in DTYPES:
            hint = did_you_mean(str(spec.get("dtype")), DTYPES)
            problems.add(spec.at("dtype"), f"unknown dtype '{spec.get('dtype')}' of input '{name}'", hint)
