"""Runs the baseline script on a board over its connection: other runtime, same inputs, threads and repeats."""

from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any

from tvmops.bench import job_files
from tvmops.connection import Connection
from tvmops.errors import HostUnreachable

SCRIPT = Path(__file__).resolve().parent.parent / "worker" / "baseline.py"


def run_on_board(
    connection: Connection, prefix: str, job: dict[str, Any], files: dict[str, Path], deadline: float
) -> dict[str, Any]:
    """The baseline's result.json. `files` are pushed beside the script into a folder that is removed afterwards."""
    made = connection.run("umask 077; mktemp -d", timeout=30.0)
    folder = made.stdout.strip()
    if made.rc != 0 or not folder:
        return job_files.failure("Board", f"cannot make a temporary folder on the board: {made.stderr.strip()}")
    try:
        names = {name: f"{folder}/{name}{path.suffix}" for name, path in files.items()}
        for name, path in files.items():
            connection.put(path.read_bytes(), names[name])
        connection.put(json.dumps({**job, **names}).encode(), f"{folder}/job.json")
        connection.put(SCRIPT.read_bytes(), f"{folder}/baseline.py")
        libraries = f"{prefix}/current:{prefix}/baselines/current"
        command = f"cd {shlex.quote(folder)} && PYTHONPATH={shlex.quote(libraries)} python3 baseline.py job.json"
        done = connection.run(command, timeout=deadline)
    finally:
        with contextlib.suppress(HostUnreachable):  # a board that is gone needs no tidying
            connection.run(f"rm -rf {shlex.quote(folder)}", timeout=30.0)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        text = (done.stderr.strip() or done.stdout.strip())[-800:]
        return job_files.failure("Board", f"the baseline script ended with {done.rc} and no result: {text}")
    return dict(result)
