"""Job directories: `.tvmops/jobs/<key>/` with job.json in, result.json, log.txt and artifacts out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tvmops.bench.leases import POLL_SECONDS, Cancelled
from tvmops.digests import file_sha256
from tvmops.paths import state_dir

SCHEMA = 1
ARTIFACT, REFERENCE = "model.so", "reference.npz"


def jobs_folder() -> Path:
    """Where job directories are."""
    return state_dir() / "jobs"


def job_dir(key: str) -> Path:
    """The directory of the job called `key`; it may not exist."""
    return jobs_folder() / key


@contextlib.contextmanager
def job_lock(key: str, cancelled: threading.Event) -> Iterator[None]:
    """Hold a job's directory, so that two sweeps never write into it at once. Raises Cancelled."""
    jobs_folder().mkdir(parents=True, exist_ok=True)
    with (jobs_folder() / f"{key}.lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # No deadline of its own: the job of the holder has one.
                if cancelled.wait(POLL_SECONDS):
                    raise Cancelled from None
        yield


def start_job(key: str, document: dict[str, Any]) -> Path:
    """An empty directory with job.json in it; whatever an earlier attempt left is removed."""
    folder = job_dir(key)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "job.json", document)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one step: it is never seen half written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_result(folder: Path) -> dict[str, Any]:
    """result.json, or a result that says why there is none."""
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return failure("Internal", f"the worker left no result; see {folder / 'log.txt'}")
    except (OSError, ValueError) as error:
        return failure("Internal", f"{folder / 'result.json'} cannot be read: {error}")
    if not isinstance(result, dict) or result.get("schema") != SCHEMA or not isinstance(result.get("ok"), bool):
        return failure("Internal", f"{folder / 'result.json'} is not a result of schema {SCHEMA}")
    return result


def failure(kind: str, message: str) -> dict[str, Any]:
    """A result.json of a job that could not run."""
    return {"schema": SCHEMA, "ok": False, "error": {"kind": kind, "message": message}}


def tuning_folder() -> Path:
    """Where tuning logs are kept: they outlive jobs."""
    return state_dir() / "tuning"


def there(kind: str, key: str) -> bool:
    """Whether the files of a tune or compile job are there."""
    return tuned(key) if kind == "tune" else compiled(key)


def tuned(key: str) -> bool:
    """Whether the log of a tune job is there."""
    result = read_result(job_dir(key))
    return bool(result["ok"] and result.get("log") and Path(result["log"]).exists())


def compiled(key: str) -> bool:
    """Whether the artifacts of a compile job are there and whole."""
    folder = job_dir(key)
    if not (folder / "result.json").is_file():
        return False
    result = read_result(folder)
    needed = [ARTIFACT, REFERENCE] + ([result["baseline_model"]] if result.get("baseline_model") else [])
    if not result["ok"] or not all((folder / name).is_file() for name in needed):
        return False
    return bool(result.get("artifact_sha256") == file_sha256(folder / ARTIFACT))
