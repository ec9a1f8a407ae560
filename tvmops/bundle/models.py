"""Models in a bundle: what the workloads of sweeps would fetch, brought to where `tvmops sweep` looks for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tvmops.bench.sweep_file import Sweep, Workload
from tvmops.bundle.archive import Part
from tvmops.digests import file_sha256
from tvmops.errors import BundleError
from tvmops.paths import cache_dir
from tvmops.stack.environment import locked
from tvmops.worker.failures import JobError
from tvmops.worker.models.wheel_store import wheel_path

FOLDER = "models"  # in the bundle: models/<sha256>/<name of the wheel>
WHEELS = "wheels"  # in the cache, where the worker keeps them in the same way
WHEEL = "wheel_sha256"  # a mapping of a workload with this key names a wheel


def collect_models(sweeps: Sequence[Sweep], tell: Callable[[str], None]) -> Part:
    """The sweep files, and the wheels and files that their models come from; fetched as needed. Raises BundleError."""
    part = Part(about={"sweeps": {}})
    for sweep in sweeps:
        folder = f"sweeps/{sweep.path.stem}"
        file = f"{folder}/{sweep.path.name}"
        if part.files.setdefault(file, sweep.path) != sweep.path:
            raise BundleError(f"{part.files[file]} and {sweep.path} would both be {file}", "give one another name")
        models: set[str] = set()
        for workload in sweep.workloads:
            for source in _wheels(workload):
                models.add(_add_wheel(part, source, workload, tell))
            for path in _own_files(workload):
                models |= _add_own(part, path, sweep, workload, folder)
            for url in _urls(workload):
                part.not_in_it.append(f"sweep {sweep.name}, workload {workload.name}: {url}")
        part.about["sweeps"][sweep.path.stem] = {"file": file, "models": sorted(models)}
    return part


def place_models(folder: Path, lock: Mapping[str, Any]) -> list[Path]:
    """Bring the wheels of the unpacked bundle into the cache; those that were not there yet. Raises BundleError."""
    placed = []
    for name, entry in lock["files"].items():
        parts = PurePosixPath(name).parts
        if parts[0] != FOLDER:
            continue
        if len(parts) != 3 or parts[1] != entry["sha256"]:
            raise BundleError(f"{name}: its name does not fit its content", "do not use this bundle")
        target = cache_dir() / WHEELS / parts[1] / parts[2]
        try:
            if _place(folder / name, target, parts[1]):
                placed.append(target)
        except OSError as error:
            raise BundleError(f"{target}: {error.strerror}", "free some space, or set TVMOPS_CACHE") from error
    return placed


def sweep_lines(folder: Path, lock: Mapping[str, Any]) -> list[str]:
    """For people: how the sweeps of the unpacked bundle are run."""
    sweeps = sorted(lock.get("sweeps", {}).items())
    return [f"the models of sweep {name} are here: tvmops sweep {folder / about['file']}" for name, about in sweeps]


def _wheels(workload: Workload) -> Iterator[Mapping[str, Any]]:
    """What the worker would fetch for the workload, wherever in it that stands."""
    for one in _mappings(workload.document):
        if WHEEL in one:
            missing = [key for key in ("package", "version", WHEEL) if not isinstance(one.get(key), str)]
            if missing:
                raise BundleError(f"{workload.position}: workload {workload.name}: a wheel needs '{missing[0]}'")
            yield one


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _mappings(one)


def _add_wheel(part: Part, source: Mapping[str, Any], workload: Workload, tell: Callable[[str], None]) -> str:
    digest = str(source[WHEEL])
    known = next((name for name in part.files if name.startswith(f"{FOLDER}/{digest}/")), None)
    if known:
        return known
    tell(f"workload {workload.name}: {source['package']} {source['version']}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # pip's words
            path = wheel_path(dict(source), cache_dir())
    except JobError as error:
        raise BundleError(f"{workload.position}: workload {workload.name}: {error.message}") from None
    if file_sha256(path) != digest:
        raise BundleError(f"{path} is not what its folder says", "remove it, it is fetched anew")
    name = f"{FOLDER}/{digest}/{path.name}"
    part.files[name] = path
    return name


def _own_files(workload: Workload) -> Iterator[Path]:
    """Files of this machine's disk, and those beside a model that the workload names."""
    source = workload.document["source"]
    if source["kind"] != "file":
        yield from (Path(one["path"]) for one in _mappings(workload.document) if "path" in one and "sha256" in one)
        return
    path = Path(source["path"])
    yield path
    for one in _mappings(workload.document):
        beside = [path.parent / str(value) for key, value in one.items() if key.endswith("_member")]
        yield from (file for file in beside if file.is_file())


def _urls(workload: Workload) -> Iterator[str]:
    """What the worker fetches from the web by itself."""
    for one in _mappings(workload.document):
        if "url" in one:
            yield one["url"] if isinstance(one["url"], str) else str(one["url"][0])


def _add_own(part: Part, path: Path, sweep: Sweep, workload: Workload, folder: str) -> set[str]:
    """At the same place beside the sweep file, where the sweep file's copy finds it."""
    home = sweep.path.parent.absolute()
    inside = path.relative_to(home) if path.is_relative_to(home) else None
    if inside is None or ".." in inside.parts:
        part.not_in_it.append(
            f"sweep {sweep.name}, workload {workload.name}: {path}, which is not beside the sweep file"
        )
        return set()
    name = f"{folder}/{inside.as_posix()}"
    part.files[name] = path
    return {name}


def _place(source: Path, target: Path, digest: str) -> bool:
    """Put `source` to `target`, unless a right one is there; whether that was needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / ".lock"):  # the worker's own
        there = sorted(target.parent.glob("*.whl"))
        if there and file_sha256(there[0]) == digest:
            return False
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            shutil.copyfile(source, fresh)
            if file_sha256(fresh) != digest:
                raise BundleError(f"{source} was changed after the bundle was unpacked", "remove its folder")
            with fresh.open("rb") as handle:
                os.fsync(handle.fileno())
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        for other in there:
            if other != target:
                other.unlink()
    return True
