"""Runs the baseline script on a board over its connection: other runtime, same inputs, threads and repeats."""

from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any

from tvmops.bench import job_files
from tvmops.connection import Connection
from tvmops.connection.options import python_interpreter
from tvmops.errors import HostUnreachable

SCRIPT = Path(__file__).resolve().parent.parent / "worker" / "baseline.py"
SHORT_SECONDS = 30.0
TIMED_OUT = 124  # timeout(1)'s exit status


def run_on_board(
    connection: Connection, prefix: str, job: dict[str, Any], files: dict[str, Path], deadline: float
) -> dict[str, Any]:
    """The baseline's result.json. `files` has "model" and "reference"; all go into a folder removed afterwards.

    `deadline` is in seconds. Raises HostUnreachable.
    """
    made = connection.run("umask 077; mktemp -d", timeout=SHORT_SECONDS)
    folder = made.stdout.strip()
    if made.rc != 0 or not folder.startswith("/"):
        return job_files.failure("Board", f"cannot make a temporary folder on the board: {made.stderr.strip()}")
    try:
        connection.put(json.dumps(job).encode(), f"{folder}/job.json")
        connection.put(SCRIPT.read_bytes(), f"{folder}/baseline.py")
        connection.put(files["model"].read_bytes(), f"{folder}/model.onnx")
        connection.put(files["reference"].read_bytes(), f"{folder}/reference.npz")
        return _run(connection, prefix, folder, deadline)
    finally:
        with contextlib.suppress(HostUnreachable):  # a board that is gone needs no tidying
            connection.run(f"rm -rf {shlex.quote(folder)}", timeout=SHORT_SECONDS)


def _run(connection: Connection, prefix: str, folder: str, deadline: float) -> dict[str, Any]:
    python = shlex.quote(python_interpreter(connection.host) or "python3")
    libraries = shlex.quote(f"{prefix}/current:{prefix}/baselines/current")
    # timeout(1) ends it on the board, too, when we stop waiting.
    limit = f"timeout -k 5 {deadline:.0f}"
    command = (
        f"cd {shlex.quote(folder)} && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={libraries} "
        f"exec {limit} {python} baseline.py job.json model.onnx reference.npz"
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
