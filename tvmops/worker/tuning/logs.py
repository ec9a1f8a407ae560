"""Tuning logs as files: one record a line, whole or not at all, and beside them what they belong to (`<log>.json`).

A log of AutoTVM or ansor is one file in TVM's own format; one of MetaSchedule is a folder with TVM's two files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional

from ..failures import JobError
from ..job import file_sha256, write_atomically
from .records import NotARecord, Record, parse

SCHEMA = 1
ENDINGS = {"autotvm": ".autotvm.log", "ansor": ".ansor.log", "meta_schedule": ".meta_schedule"}
WORKLOADS = "database_workload.json"
RECORDS = "database_tuning_record.json"
FAULTS = 20  # so many lines are named
# What must agree before records of one run mean anything in another.
SAME = ("method", "stack", "target")


class Log(NamedTuple):
    """What a log holds. `faults`: "file:line: why" of each line that is no record; such lines are left out."""

    method: str
    records: List[Record]
    faults: List[str]


def log_path(folder: Path, stem: str, method: str, versions: Dict[str, Optional[str]]) -> Path:
    """`stem` names workload, target and stack; LLVM decides what code comes out, too."""
    return folder / f"{stem}-llvm{versions.get('llvm') or 'none'}{ENDINGS[method]}"


def method_of(path: Path) -> Optional[str]:
    """By the sidecar, else by the folder, else by the first record; None for what is no log."""
    identity = read_identity(path)
    if identity and identity.get("method") in ENDINGS:
        return str(identity["method"])
    if path.is_dir():
        return "meta_schedule" if (path / RECORDS).exists() else None
    with path.open("rb") as stream:
        for raw in stream:
            for method in ("autotvm", "ansor"):
                with contextlib.suppress(NotARecord):
                    parse(method, raw.decode("utf-8", "replace"))
                    return method
    return None


def records_file(path: Path) -> Path:
    """The file that gets a line per record."""
    return path / RECORDS if path.is_dir() or path.name.endswith(ENDINGS["meta_schedule"]) else path


def read_log(path: Path, method: Optional[str] = None) -> Log:
    """All records. Raises JobError (BadInput) when the file cannot be read or has nothing that is a record."""
    try:
        found = method or method_of(path)
        if found is None:
            raise JobError("BadInput", f"{path}: no tuning log: no line is a record of AutoTVM or auto_scheduler")
        source = records_file(path)
        data = source.read_bytes() if source.exists() else b""
    except OSError as error:
        raise JobError("BadInput", f"{path}: cannot be read: {error.strerror}") from error
    return parse_lines(found, data, source)


def parse_lines(method: str, data: bytes, source: Path) -> Log:
    """Records and faults of a log's bytes."""
    records: List[Record] = []
    faults: List[str] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip() or raw.startswith(b"#"):
            continue
        try:
            records.append(parse(method, raw.decode("utf-8")))
        except UnicodeDecodeError:
            faults.append(f"{source}:{number}: not UTF-8")
        except NotARecord as error:
            faults.append(f"{source}:{number}: {error}")
    return Log(method, records, faults)


def sound(path: Path, method: str, folder: Path) -> Path:
    """The log itself, or a copy in `folder` without the lines that are no records, which TVM's readers refuse.

    Raises JobError (BadInput) when no line is a record.
    """
    if path.is_dir():
        return path  # MetaSchedule's are opened by databases.py, which leaves such lines out
    found = read_log(path, method)
    if not found.faults:
        return path
    if not found.records:
        raise JobError("BadInput", f"{path} is no log of {method}: {found.faults[0]}")
    for fault in found.faults[:FAULTS]:
        print(f"{fault}; the line is left out", flush=True)
    copy = folder / path.name
    copy.write_text("".join(f"{record.line}\n" for record in found.records), encoding="utf-8")
    return copy


def sidecar(path: Path) -> Path:
    """Where a log's identity stands."""
    return path.with_name(path.name + ".json")


def read_identity(path: Path) -> Optional[Dict[str, Any]]:
    """What the log belongs to; None where nothing says so (a log from elsewhere). Raises JobError (BadInput)."""
    name = sidecar(path)
    if not name.exists():
        return None
    try:
        identity = json.loads(name.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise JobError("BadInput", f"{name}: cannot be read: {error}; remove it if the log is to be trusted") from error
    if not isinstance(identity, dict) or identity.get("schema") != SCHEMA:
        raise JobError("BadInput", f"{name}: this worker reads schema {SCHEMA} only")
    return identity


def make_identity(settings: Dict[str, Any], method: str, model_sha256: str, versions: Dict[str, Any]) -> Dict[str, Any]:
    """The identity of a tune job's log."""
    return {
        "schema": SCHEMA,
        "method": method,
        "stack": settings.get("stack"),
        "target": settings.get("target"),
        "workloads": {str((settings.get("workload") or {}).get("name")): model_sha256},
        "versions": {name: versions.get(name) for name in ("tvm", "llvm", "python", "numpy", "xgboost")},
    }


def refuse_foreign(path: Path, wanted: Dict[str, Any], workloads: bool = True) -> None:
    """Raises JobError (BadInput) naming both when the log belongs to another method, stack, target, compiler or model.

    Keys that `wanted` lacks are not compared; `workloads=False` takes another model's log, whose tasks may be the same.
    """
    own = read_identity(path)
    if own is None:
        return
    compared = [(key, own.get(key), wanted.get(key)) for key in SAME if key in wanted]
    for key in ("tvm", "llvm"):
        compared.append((key, (own.get("versions") or {}).get(key), (wanted.get("versions") or {}).get(key)))
    if workloads:
        for name, sha256 in wanted["workloads"].items():
            compared.append((f"model of workload '{name}'", (own.get("workloads") or {}).get(name), sha256))
    for key, theirs, ours in compared:
        if theirs != ours and ours is not None:
            raise JobError(
                "BadInput",
                f"{path}: the log's {key} is {_show(theirs)}, this job's is {_show(ours)}; "
                "times of different ones cannot be compared",
            )


def log_sha256(path: Path) -> str:
    """Of a log's content."""
    if not path.is_dir():
        return file_sha256(path)
    digest = hashlib.sha256()
    for name in (WORKLOADS, RECORDS):
        if (path / name).exists():
            digest.update(f"{name}:{file_sha256(path / name)}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def opened(path: Path, identity: Dict[str, Any]) -> Iterator["OpenLog"]:
    """The log, held by this process alone, repaired and made if need be. Raises JobError (BadInput)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise JobError(
                "BadInput", f"{path}: process {lock.read().strip()} tunes into this log now; wait until it has ended"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        refuse_foreign(path, identity)
        if identity["method"] == "meta_schedule":
            path.mkdir(exist_ok=True)
        if not sidecar(path).exists():
            write_atomically(sidecar(path), json.dumps(identity, indent=1).encode("utf-8"))
        repaired = sum(repair(path / name) for name in (WORKLOADS, RECORDS)) if path.is_dir() else repair(path)
        source = records_file(path)
        with source.open("ab", buffering=0) as stream:
            yield OpenLog(path, identity["method"], stream, repaired)


def repair(path: Path) -> int:
    """Takes a torn last line away (a process was killed, or the power went); how many lines it was."""
    if not path.exists():
        return 0
    with path.open("r+b") as stream:
        data = stream.read()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return 0
        try:
            json.loads(data[whole:].decode("utf-8"))
        except (ValueError, RecursionError):
            stream.truncate(whole)
            return 1
        stream.write(b"\n")  # only the end of the line was missing
        return 0


class OpenLog:
    """A log that is being written. `torn`: lines that were cut off and are gone."""

    def __init__(self, path: Path, method: str, stream: IO[bytes], torn: int) -> None:
        self.path = path
        self.torn = torn
        self._stream = stream
        self.content = read_log(path, method)
        for fault in self.content.faults[:FAULTS]:
            print(f"{fault}; the line is left out", flush=True)

    def remarks(self) -> Dict[str, Any]:
        """What was wrong with the log, for the job's result."""
        return {"log_faults": self.content.faults[:FAULTS], "torn_lines": self.torn}

    def append(self, line: str) -> None:
        """One record in one write, under the file's own lock: readers and other writers see whole lines."""
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        try:
            self._stream.write((line.rstrip("\n") + "\n").encode("utf-8"))
        finally:
            fcntl.flock(self._stream, fcntl.LOCK_UN)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
