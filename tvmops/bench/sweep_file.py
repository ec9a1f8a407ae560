"""Reads `sweeps/*.yml`: which workloads on which hosts, measured how. All the faults of a file are shown at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.paths import exists, find_project_file, user_path
from tvmops.source import Map, Position, Problems, Seq, did_you_mean, load_yaml

BASELINES = ("onnxruntime", "none")
SWEEP_KEYS = ("name", "description", "stack", "hosts", "measure", "baseline", "timeouts", "workloads")
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
class Sweep:
    """One sweep file."""

    name: str
    path: Path
    description: str
    stack: str | None
    hosts: str
    workloads: tuple[Workload, ...]
    measure: Measure = field(default_factory=Measure)
    timeouts: Timeouts = field(default_factory=Timeouts)
    baseline: str = "onnxruntime"


def load_sweep(name: str) -> Sweep:
    """The sweep in file `name` (a path, or a name in sweeps/). Raises ConfigError with every fault found."""
    path = _find(name)
    data = load_yaml(path)
    problems = Problems()
    top = Position(str(path), 1)
    if not isinstance(data, Map):
        raise ConfigError(f"{top}: a sweep file is a mapping", f"it has the keys {', '.join(SWEEP_KEYS)}")
    _unknown_keys(data, SWEEP_KEYS, "sweep key", problems)
    sweep = Sweep(
        name=_name(data, problems, default=path.stem),
        path=path,
        description=_text(data, "description", problems),
        stack=_text(data, "stack", problems) or None,
        hosts=_text(data, "hosts", problems) or "all",
        baseline=_baseline(data, problems),
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


def _unknown_keys(data: Map, known: tuple[str, ...], what: str, problems: Problems) -> None:
    for key in data:
        if key not in known:
            problems.add(data.keys_at[key], f"unknown {what} '{key}'", did_you_mean(str(key), known))


def _text(data: Map, key: str, problems: Problems) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.add(data.at(key), f"'{key}' must be text, not {_kind(value)}")
        return ""
    return value.strip()


def _name(data: Map, problems: Problems, default: str = "") -> str:
    value = data.get("name", default)
    if not isinstance(value, str) or not _NAME.match(value):
        problems.add(data.at("name"), "'name' must be one word of letters, digits, '.', '_' and '-'")
        return str(value)
    return value


def _baseline(data: Map, problems: Problems) -> str:
    value = data.get("baseline", "onnxruntime")
    value = "none" if value is None else value
    if value not in BASELINES:
        problems.add(data.at("baseline"), f"unknown baseline '{value}'", did_you_mean(str(value), BASELINES))
    return str(value)


def _measure(data: Map, problems: Problems) -> Measure:
    section = _section(data, "measure", tuple(LEAST), problems)
    values: dict[str, int] = {}
    for key, least in LEAST.items():
        if section.get(key) is None:
            continue
        if _whole_number(section, key, least, problems):
            values[key] = section[key]
    return Measure(**values)


def _timeouts(data: Map, problems: Problems) -> Timeouts:
    known = ("compile", "measure", "baseline", "board")
    section = _section(data, "timeouts", known, problems)
    values: dict[str, float] = {}
    for key in known:
        value = section.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            problems.add(section.at(key), f"'{key}' must be a number of seconds above 0")
            continue
        values[key] = float(value)
    return Timeouts(**values)


def _section(data: Map, key: str, known: tuple[str, ...], problems: Problems) -> Map:
    section = data.get(key)
    if section is None:
        return Map(data.position)
    if not isinstance(section, Map):
        problems.add(data.at(key), f"'{key}' must be a mapping, not {_kind(section)}", f"keys: {', '.join(known)}")
        return Map(data.position)
    _unknown_keys(section, known, f"key of '{key}'", problems)
    return section


def _whole_number(data: Map, key: str, least: int, problems: Problems) -> bool:
    value = data[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        problems.add(data.at(key), f"'{key}' must be a whole number of at least {least}, not {value!r}")
        return False
    return True


def _workloads(data: Map, problems: Problems) -> tuple[Workload, ...]:
    items = data.get("workloads")
    if not isinstance(items, Seq) or not items:
        problems.add(data.at("workloads"), "'workloads' must be a list with at least one workload")
        return ()
    found: dict[str, Workload] = {}
    for item, position in zip(items, items.items_at, strict=True):
        if not isinstance(item, Map):
            problems.add(position, f"a workload is a mapping, not {_kind(item)}", f"keys: {', '.join(WORKLOAD_KEYS)}")
            continue
        workload = _workload(item, problems)
        if workload.name in found:
            first = found[workload.name].position.line
            problems.add(item.at("name"), f"workload '{workload.name}' is given twice (first at line {first})")
        found[workload.name] = workload
    return tuple(found.values())


def _workload(item: Map, problems: Problems) -> Workload:
    _unknown_keys(item, WORKLOAD_KEYS, "workload key", problems)
    if "name" not in item:
        problems.add(item.position, "a workload needs a 'name'")
    source = item.get("source")
    if not isinstance(source, Map) or not isinstance(source.get("kind"), str):
        problems.add(item.at("source"), "'source' must be a mapping with a 'kind'", "e.g. kind: wheel")
    _check_inputs(item, problems)
    for key in ("task", "tolerance", "options"):
        if item.get(key) is not None and not isinstance(item[key], Map):
            problems.add(item.at(key), f"'{key}' must be a mapping, not {_kind(item[key])}")
    document = {key: plain(value) for key, value in item.items() if key != "description"}
    if isinstance(source, Map) and source.get("kind") == "file":
        document["source"] = _file_source(source, problems)
    name = _name(item, problems) if "name" in item else ""
    return Workload(name, document, item.position, _text(item, "description", problems))


def _file_source(source: Map, problems: Problems) -> dict[str, Any]:
    """A model on this machine's disk: relative to the sweep file, known by its content."""
    given = source.get("path")
    if not isinstance(given, str):
        problems.add(source.position, "a source of kind 'file' needs a 'path'")
        return {}
    path = (Path(source.position.path).parent / user_path(given)).absolute()
    if not (exists(path) and path.is_file()):
        problems.add(source.at("path"), f"no such file: {path}", "paths are relative to the sweep file")
        return {}
    found = {**plain(source), "path": str(path)}
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **found}


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


def plain(value: Any) -> Any:
    """Plain dicts and lists instead of Map and Seq, ready for JSON."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", type(None): "nothing"}
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return names.get(type(value), "a date" if hasattr(value, "isoformat") else type(value).__name__)
