"""Tuning logs for a bundle: those that provisioning would bring to a host, fetched by the program that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmops.digests import file_sha256
from tvmops.errors import BundleError
from tvmops.paths import find_project_file

VARIABLES = "playbooks/vars/tophub.yml"  # holds tophub_question, which playbooks/tasks/tophub.yml asks, too
PROGRAM = "playbooks/files/tophub_fetch.py"
FOLDER = "tophub"  # in the bundle
FETCH_DEADLINE = 1800.0  # seconds; the program's own deadlines are shorter


class Logs:
    """The tuning logs of all hosts. `files`: name in the bundle -> local path."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self._sums: dict[str, str] = {}

    def add(self, host: str, question: Mapping[str, Any]) -> list[str]:
        """Fetch what `question` (tophub_question) asks for; the logs' names. Raises BundleError."""
        folder = _fetch(host, question)
        names = sorted(question["files"])
        for name in names:
            path = folder / name
            digest = file_sha256(path)
            if self._sums.setdefault(name, digest) != digest:
                raise BundleError(
                    f"{host}: its {name} is another one than that of a host before",
                    "hosts with a tophub_sha256 of their own need a bundle of their own",
                )
            self.files[f"{FOLDER}/{name}"] = path
        return names


def logs_variables(folder: Path) -> dict[str, Any]:
    """What tells provisioning to take the logs from the unpacked bundle in `folder`."""
    return {"tophub_source": {"kind": "folder", "path": str(folder / FOLDER)}}


def _fetch(host: str, question: Mapping[str, Any]) -> Path:
    """The folder of this machine in which all the logs are."""
    argv = [sys.executable, str(find_project_file(PROGRAM)), json.dumps(question)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{host}: tuning logs took longer than {FETCH_DEADLINE:.0f} s", "try again") from error
    try:
        answer = json.loads(done.stdout)
        problem = str(answer.get("problem", ""))
    except ValueError:
        said = (done.stdout + done.stderr).strip().splitlines()
        answer, problem = {}, said[-1] if said else f"exit status {done.returncode}"
    if problem:
        raise BundleError(
            f"{host}: its tuning logs cannot be had: {problem}",
            "the host variable tophub_source names another place: docs/tophub.md",
        )
    return Path(answer["folder"])
