"""Frameworks run in child processes: a crash there costs one job, and two frameworks never share a process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

from .failures import JobError

CHILD_SECONDS = 600


def run_child(program: str, request: Dict[str, Any], folder: Path, what: str) -> Dict[str, Any]:
    """The answer of a program beside this file, which gets `request` and the name of its answer's file as JSON.

    Its output goes to this process's, the job's log. An answer {"error": [kind, message]} is raised as JobError;
    a crash and more than CHILD_SECONDS are JobError (Internal).
    """
    with tempfile.TemporaryDirectory(dir=str(folder), prefix=".child-") as scratch:
        answer = Path(scratch) / "answer.json"
        text = json.dumps({**request, "answer": str(answer)}).encode("utf-8")
        command = [sys.executable, str(Path(__file__).parent / program)]
        try:
            done = subprocess.run(command, input=text, check=False, timeout=CHILD_SECONDS, cwd=str(folder))
        except subprocess.TimeoutExpired:
            raise JobError("Internal", f"{what} took longer than {CHILD_SECONDS} s") from None
        if not answer.is_file():
            raise JobError("Internal", f"{what} ended with exit status {done.returncode} and no answer; see log.txt")
        found: Dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in found:
        raise JobError(*found["error"])
    return found
