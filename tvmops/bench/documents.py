"""job.json: what a worker or a board is told about a job."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from tvmops.bench import job_files, vta
from tvmops.bench.cells import Cell
from tvmops.bench.jobs import Job, target_name
from tvmops.errors import StackError
from tvmops.paths import cache_dir
from tvmops.rpc import Endpoint


def base(job: Job, cell: Cell) -> dict[str, Any]:
    """What every job is told."""
    workload = dict(cell.workload.document)
    if vta.uses_vta(cell.target):
        workload["options"] = vta.options_of(cell.workload, cell.host)
    return {
        "schema": job_files.SCHEMA,
        "kind": job.kind,
        "key": job.key,
        "stack": cell.stack,
        "workload": workload,
        "mode": cell.mode,
        "cache_dir": str(cache_dir().absolute()),
    }


def for_compile(job: Job, cell: Cell) -> dict[str, Any]:
    """A compile job with the tuning that it applies. Raises StackError when the log of its tune job is gone."""
    return {
        **base(job, cell),
        "target": dict(cell.target),
        "cross_compiler": cell.cross_compiler,
        "tuning": _tuning(job, cell),
    }


def for_tune(job: Job, cell: Cell, boards: list[dict[str, Any]], session_seconds: int) -> dict[str, Any]:
    """A tune job. `boards` are name, host, port and key of RPC servers; none: trials run on this machine."""
    settings = {key: value for key, value in job.inputs["tune"].items() if key != "runner"}
    folder = job_files.tuning_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return {
        **base(job, cell),
        "target": dict(cell.target),
        "cross_compiler": cell.cross_compiler,
        "tune": {**settings, "method": job.inputs["method"], "threads": cell.threads},
        "boards": boards,
        "session_timeout": session_seconds,
        "log_folder": str(folder.absolute()),
        "log_stem": log_stem(job, cell),
    }


def for_board(job: Job, cell: Cell) -> dict[str, Any]:
    """A measure or baseline job: the files of its compile job, and how to measure."""
    source = job_files.job_dir(job.needs or "")
    document = base(job, cell)
    document["measure"] = dict(job.inputs["measure"])
    document["artifact"] = str(source / job_files.ARTIFACT)
    document["reference"] = str(source / job_files.REFERENCE)
    document["target"] = dict(cell.target)
    document["profile"] = cell.profile
    if "runtime" in job.inputs:
        document["runtime"] = job.inputs["runtime"]
    return document


def with_endpoint(document: dict[str, Any], endpoint: Endpoint, seconds: int) -> None:
    """Tell a job where its board's RPC server is."""
    document["rpc"] = {"host": endpoint.host, "port": endpoint.port, "session_timeout": seconds}
    if endpoint.key:
        document["rpc"]["key"] = endpoint.key
    document["board"] = {"tvm_version": endpoint.tvm_version}


def log_stem(job: Job, cell: Cell) -> str:
    """The name of a tuning log, without its LLVM: workload, target, stack, method, and a hash of what they are.

    Settings such as the number of trials are left out: more trials go on with the same log.
    """
    lasting = {name: value for name, value in job.inputs.items() if name not in ("tune", "revision")}
    digest = hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:8]
    words = [job.workload, target_name(cell.target), cell.stack, str(job.inputs["method"]), digest]
    return ".".join(re.sub(r"[^A-Za-z0-9_-]+", "-", word) for word in words)


def _tuning(job: Job, cell: Cell) -> dict[str, Any]:
    choice = cell.tuning
    if job.needs is not None:
        result = job_files.read_result(job_files.job_dir(job.needs))
        if not result["ok"]:
            raise StackError(f"the tuning log of {job.workload} is gone: {result['error']['message']}", "run it again")
        return {"kind": "log", "method": choice.method, "path": result["log"]}
    if choice.path is not None:
        return {"kind": "log", "method": choice.method, "path": choice.path}
    if choice.name == "tophub":
        return {
            "kind": "tophub",
            "folder": str(cell.host.vars.get("tvm_tophub") or (cache_dir() / "tophub").absolute()),
        }
    return {"kind": "none"}
