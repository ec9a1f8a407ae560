"""Tuning logs on the controller: what a log holds, and merging, picking the best, exporting and importing. No TVM."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.worker.failures import JobError
from tvmops.worker.tuning import logs
from tvmops.worker.tuning.databases import read_database, write_database
from tvmops.worker.tuning.records import Record, best_per_task, union

# What must agree before records of two logs may stand in one.
SAME = ("method", "target")
SAME_VERSIONS = ("tvm", "llvm")


@dataclass(frozen=True)
class TuningLog:
    """A log and what it belongs to; `identity` is empty for a log from elsewhere."""

    path: Path
    method: str
    records: tuple[Record, ...]
    faults: tuple[str, ...]
    identity: Mapping[str, Any]

    @property
    def tasks(self) -> int:
        """How many tasks have records."""
        return len({record.task for record in self.records})

    @property
    def failed(self) -> int:
        """Trials without a time."""
        return sum(record.cost is None for record in self.records)


def read(path: Path) -> TuningLog:
    """A log's records. Raises ConfigError when there is nothing that is a record."""
    if not path.exists():
        raise ConfigError(f"{path}: no such tuning log", "tvmops tuning.list shows those that sweeps made")
    try:
        identity = logs.read_identity(path) or {}
        method = logs.method_of(path)
        found = read_database(path) if method == "meta_schedule" else logs.read_log(path, method)
    except JobError as error:
        raise ConfigError(error.message) from error
    return TuningLog(path, found.method, tuple(found.records), tuple(found.faults), identity)


def known_logs(folder: Path) -> list[Path]:
    """The logs in a folder, by name."""
    found = [path for ending in logs.ENDINGS.values() for path in folder.glob("*" + ending)]
    return sorted(found)


def merge(paths: Sequence[Path], output: Path) -> TuningLog:
    """Every trial of all logs once. Raises ConfigError for logs that do not belong together."""
    found = [read(path) for path in paths]
    if not found:
        raise ConfigError("no log to merge", "name two or more")
    for other in found[1:]:
        _refuse_strangers(found[0], other)
    return _write(output, found, union([record for one in found for record in one.records]))


def best(path: Path, output: Path) -> TuningLog:
    """The fastest trial of each task. Raises ConfigError."""
    log = read(path)
    return _write(output, [log], best_per_task(list(log.records)))


def export(path: Path, output: Path) -> TuningLog:
    """The fastest trial of each task as a file of tophub's. Raises ConfigError; only AutoTVM's records fit."""
    if read(path).method != "autotvm":
        raise ConfigError(f"{path}: tophub holds AutoTVM's records only, these are of {read(path).method}")
    return best(path, output)


def bring(path: Path, folder: Path, name: str | None = None) -> TuningLog:
    """A log from elsewhere (a file of tophub, a colleague's), copied beside the others. Raises ConfigError."""
    log = read(path)
    if not log.records:
        raise ConfigError(f"{path}: holds no record that can be read", "; ".join(log.faults[:3]))
    stem = name or path.name
    for ending in (".log", *logs.ENDINGS.values()):
        stem = stem.removesuffix(ending)
    target = folder / (stem + logs.ENDINGS[log.method])
    if target.exists():
        raise ConfigError(f"{target}: there is a log of this name", "give another one with --name, or merge them")
    folder.mkdir(parents=True, exist_ok=True)
    return _write(target, [log], union(list(log.records)))


def _refuse_strangers(one: TuningLog, other: TuningLog) -> None:
    if one.method != other.method:
        raise ConfigError(f"{one.path} is a log of {one.method}, {other.path} of {other.method}", "merge equals only")
    if not (one.identity and other.identity):
        return
    pairs = [(key, one.identity.get(key), other.identity.get(key)) for key in SAME]
    for key in SAME_VERSIONS:
        ours, theirs = ((log.identity.get("versions") or {}).get(key) for log in (one, other))
        pairs.append((key, ours, theirs))
    for key, ours, theirs in pairs:
        if ours != theirs:
            raise ConfigError(
                f"{one.path} and {other.path} were measured with different {key}: "
                f"{json.dumps(ours, sort_keys=True)} and {json.dumps(theirs, sort_keys=True)}",
                "times of different targets and compilers cannot be compared",
            )


def _write(output: Path, sources: Sequence[TuningLog], records: list[Record]) -> TuningLog:
    if output.exists() and not logs.sidecar(output).exists() and output not in [one.path for one in sources]:
        raise ConfigError(
            f"{output}: there is something of this name, and it is no log of tvmops", "choose another name"
        )
    method = sources[0].method
    if method == "meta_schedule":
        write_database(output, [one.path for one in sources], records)
    else:
        _replace(output, "".join(f"{record.line}\n" for record in records).encode("utf-8"))
    identity = _joined(sources)
    if identity:
        _replace(logs.sidecar(output), json.dumps(identity, indent=1).encode("utf-8"))
    faults = tuple(fault for one in sources for fault in one.faults)
    return TuningLog(output, method, tuple(records), faults, identity)


def _joined(sources: Sequence[TuningLog]) -> dict[str, Any]:
    """The first log's identity with everybody's workloads."""
    known = [one.identity for one in sources if one.identity]
    if not known:
        return {}
    workloads: dict[str, Any] = {}
    for identity in known:
        workloads.update(identity.get("workloads") or {})
    return {**known[0], "workloads": dict(sorted(workloads.items()))}


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)
