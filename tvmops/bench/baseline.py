"""Runs a model in another runtime on a board, over its connection: same inputs, threads and repeats."""

from __future__ import annotations

import contextlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.bench import job_files
from tvmops.connection import Connection
from tvmops.connection.options import python_interpreter
from tvmops.errors import HostUnreachable

WORKER = Path(__file__).resolve().parent.parent / "worker"
SCRIPT = WORKER / "baseline.py"
SHORT_SECONDS = 30.0
TIMED_OUT = 124  # timeout(1)'s exit status


@dataclass(frozen=True)
class Runtime:
    """What runs a model beside TVM.

    `program` is its file in worker/runtimes, `files` what of a compile job's folder it reads, `form` how people call
    that. `provisioned`: tvmops puts it on boards; others are taken as they are there.
    """

    program: str
    files: tuple[str, ...]
    form: str
    provisioned: bool = False


RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime("onnxruntime.py", ("model.onnx",), "ONNX", provisioned=True),
    "torch": Runtime("torch.py", ("model.pt",), "TorchScript"),
    "mxnet": Runtime("mxnet.py", ("model-symbol.json", "model.params"), "MXNet's symbol and params"),
    "trtexec": Runtime("trtexec.py", ("model.onnx",), "ONNX"),
    "trtexec-fp16": Runtime("trtexec.py", ("model.onnx",), "ONNX"),
}


def run_on_board(
    connection: Connection, prefix: str, job: dict[str, Any], files: dict[str, Path], deadline: float
) -> dict[str, Any]:
    """The baseline's result.json. `files` has "reference"; the model lies beside it, as its compile job left it.

    The job's "runtime" is a name of RUNTIMES. A board that lacks it, or a model that has no form for it, gives a result
    with error kind "Absent". `deadline` is in seconds. Raises HostUnreachable.
    """
    name = str(job.get("runtime") or "onnxruntime")
    known = RUNTIMES.get(name)
    if known is None:
        return job_files.failure("BadInput", f"unknown runtime '{name}'; known: {', '.join(RUNTIMES)}")
    models = [files["reference"].parent / file for file in known.files]
    if not all(path.is_file() for path in models):
        return job_files.failure("Absent", f"{name} cannot run this model: it has no {known.form} form")
    made = connection.run('umask 077; folder=$(mktemp -d) && mkdir "$folder/runtimes" && echo "$folder"', timeout=30.0)
    folder = made.stdout.strip()
    if made.rc != 0 or not folder.startswith("/"):
        return job_files.failure("Board", f"cannot make a temporary folder on the board: {made.stderr.strip()}")
    try:
        connection.put(json.dumps({**job, "runtime": name}).encode(), f"{folder}/job.json")
        connection.put(SCRIPT.read_bytes(), f"{folder}/baseline.py")
        program = WORKER / "runtimes" / known.program
        connection.put(program.read_bytes(), f"{folder}/runtimes/{known.program}")
        for path in (*models, files["reference"]):
            connection.put(path.read_bytes(), f"{folder}/{path.name}")
        return _run(connection, prefix, folder, deadline, known)
    finally:
        with contextlib.suppress(HostUnreachable):  # a board that is gone needs no tidying
            connection.run(f"rm -rf {shlex.quote(folder)}", timeout=SHORT_SECONDS)


def _run(connection: Connection, prefix: str, folder: str, deadline: float, runtime: Runtime) -> dict[str, Any]:
    # timeout(1) ends it on the board, too, when we stop waiting.
    limit = f"timeout -k 5 {deadline:.0f}"
    arguments = " ".join(["job.json", *runtime.files, "reference.npz"])
    command = (
        f"cd {shlex.quote(folder)} && PYTHONDONTWRITEBYTECODE=1 {_python_path(prefix, runtime)}"
        f"exec {limit} {_python(connection, runtime)} baseline.py {arguments}"
    )
    done = connection.run(command, timeout=deadline + SHORT_SECONDS)
    if done.rc == TIMED_OUT:
        message = f"took longer than {deadline:.0f} s (timeouts.baseline in the sweep file)"
        return job_files.failure("Timeout", message)
    lines = done.stdout.strip().splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (ValueError, IndexError, TypeError):
        text = (done.stderr.strip() or done.stdout.strip())[-800:]
        return job_files.failure("Board", f"the baseline ended with exit status {done.rc} and no result: {text}")


def _python(connection: Connection, runtime: Runtime) -> str:
    """`tvm_baseline_python`: torch and the like often live in an environment of their own."""
    own = connection.host.vars.get("tvm_baseline_python")
    chosen = own if own and not runtime.provisioned else python_interpreter(connection.host)
    return shlex.quote(str(chosen or "python3"))


def _python_path(prefix: str, runtime: Runtime) -> str:
    """Where provisioning put onnxruntime and numpy; other runtimes have a numpy that they were made for."""
    if not runtime.provisioned:
        return ""
    return f"PYTHONPATH={shlex.quote(f'{prefix}/current:{prefix}/baselines/current')} "
