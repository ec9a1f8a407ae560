"""Programs that the agent runs, and its own end while it runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import processes

ROOT = Path(__file__).parents[3]
# A machine that is busy may go on with the program for a while before its starter hears that it was started.
PROGRAM = """
import os, signal, subprocess
from tvmops.agent import process

started = subprocess.Popen

def start_slowly(*arguments, **options):
    child = started(*arguments, **options)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return child

subprocess.Popen = start_slowly
signal.signal(signal.SIGTERM, lambda number, frame: process.end_all(lambda: os._exit(7)))
process.run(["sleep", "600"], None, None, None, env=None, progress=print)
"""


def test_a_program_that_is_just_being_started_is_ended_with_the_agent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.returncode == 7
    assert processes.gone(int(done.stdout)), "the program still runs"
