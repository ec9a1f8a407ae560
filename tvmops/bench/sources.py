"""Files that a workload names: which keys of its source and its task are files, found beside the sweep file and known
by their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvmops.bench.fields import kind_of, plain
from tvmops.digests import file_sha256
from tvmops.paths import exists, user_path
from tvmops.source import Map, Position, Problems

# By `kind`. Such a key holds a path, or a mapping with `path`, with `url`, or of a wheel's keys.
SOURCE_FILES: dict[str, tuple[str, ...]] = {
    "darknet": ("cfg", "weights"),
    "gluon": ("symbol", "params"),
    "torch": ("weights",),
}
TASK_FILES: dict[str, tuple[str, ...]] = {"classification": ("image", "labels"), "detection": ("image", "labels")}
# Sources that may themselves be a mapping with `path`.
PLAIN_FILES = ("file", "onnx", "torch")

RELATIVE = "paths are relative to the sweep file"


def source_document(source: Map, problems: Problems) -> dict[str, Any]:
    """The `source` of a workload with its files found."""
    kind = source.get("kind")
    if kind == "file" and "path" not in source:
        problems.add(source.position, "a source of kind 'file' needs a 'path'")
    if kind in PLAIN_FILES and "path" in source:
        return _with_path(source, problems)
    return _with_files(source, SOURCE_FILES.get(str(kind), ()), problems)


def task_document(task: Map, problems: Problems) -> dict[str, Any]:
    """The `task` of a workload with its files found."""
    return _with_files(task, TASK_FILES.get(str(task.get("kind")), ()), problems)


def _with_files(section: Map, keys: tuple[str, ...], problems: Problems) -> dict[str, Any]:
    found: dict[str, Any] = plain(section)
    for key in keys:
        value = section.get(key)
        if isinstance(value, str):
            found[key] = _file(value, section.at(key), problems)
        elif isinstance(value, Map) and "path" in value:
            found[key] = _with_path(value, problems)
        elif isinstance(value, Map) and "url" in value and not value.get("sha256"):
            problems.add(value.position, f"'{key}' with a 'url' needs the file's 'sha256'", "from sha256sum FILE")
    return found


def _with_path(section: Map, problems: Problems) -> dict[str, Any]:
    """The mapping with its path made absolute and, unless it says so itself, the sha256 of what is there."""
    given = section["path"]
    if not isinstance(given, str):
        problems.add(section.at("path"), f"'path' must be text, not {kind_of(given)}")
        return {}
    return {**_file(given, section.at("path"), problems), **{key: section[key] for key in section if key != "path"}}


def _file(given: str, position: Position, problems: Problems) -> dict[str, Any]:
    path = (Path(position.path).parent / user_path(given)).absolute()
    if not (exists(path) and path.is_file()):
        problems.add(position, f"no such file: {path}", RELATIVE)
        return {}
    return {"sha256": file_sha256(path), "path": str(path)}
