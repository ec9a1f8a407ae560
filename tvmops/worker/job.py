"""One job: its directory, its settings, its phases, and the result that is written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, Optional

from .failures import JobError

SCHEMA = 1


class Job:
    """A job directory. `seconds` fills up with the phases' durations as they end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started = time.monotonic()
        self.seconds: Dict[str, float] = {}
        self.settings = _read_settings(directory / "job.json")

    @property
    def kind(self) -> str:
        return self.settings["kind"]

    @property
    def workload(self) -> Dict[str, Any]:
        return self.settings["workload"]

    @property
    def cache_dir(self) -> Path:
        return Path(self.settings["cache_dir"])

    @property
    def options(self) -> Dict[str, Any]:
        """The workload's options, and where a backend may keep what it makes once for many jobs."""
        return {**(self.workload.get("options") or {}), "cache_dir": str(self.cache_dir)}

    def file(self, key: str) -> Path:
        """The file that job.json names under `key`. Raises JobError (BadInput) when it is not there."""
        name = self.settings.get(key)
        if not name:
            raise JobError("BadInput", f"job.json of {self.directory.name} has no '{key}'")
        path = self.directory / name
        if not path.is_file():
            raise JobError("BadInput", f"{path}: no such file; run the compile job again")
        return path

    @contextlib.contextmanager
    def phase(self, name: str):
        """Times what happens inside and notes it in events.jsonl."""
        self._event(name, "start")
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begin
            self._event(name, "end")

    def _event(self, phase: str, state: str) -> None:
        event = {"event": "phase", "phase": phase, "state": state, "t": round(time.monotonic() - self.started, 4)}
        with (self.directory / "events.jsonl").open("a", encoding="utf-8") as events:
            events.write(json.dumps(event) + "\n")


def _read_settings(path: Path) -> Dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError("BadInput", f"{path}: cannot be read: {error}") from error
    if not isinstance(settings, dict) or settings.get("schema") != SCHEMA:
        raise JobError("BadInput", f"{path}: this worker reads schema {SCHEMA} only")
    for key in ("kind", "workload", "cache_dir"):
        if key not in settings:
            raise JobError("BadInput", f"{path}: '{key}' is missing")
    return settings


def write_result(directory: Path, result: Dict[str, Any]) -> None:
    """Writes result.json so that a reader sees the whole of it or nothing, even after a power cut."""
    write_atomically(directory / "result.json", json.dumps(result, indent=1, allow_nan=False).encode("utf-8"))


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces `path` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def failure_result(error: JobError, job: Optional[Job], versions: Dict[str, Any]) -> Dict[str, Any]:
    """result.json of a job that failed."""
    return {
        "schema": SCHEMA,
        "kind": job.kind if job else None,
        "key": job.settings.get("key") if job else None,
        "ok": False,
        "error": {"kind": error.kind, "message": error.message},
        "seconds": dict(job.seconds) if job else {},
        "versions": versions,
    }


def file_sha256(path: Path) -> str:
    """sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
