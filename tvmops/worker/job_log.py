"""Sends everything a job prints, C and C++ code included, to its log.txt."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

# TVM says this hundreds of times per export; nobody can act on it.
NOISE = b"Scope Saving"


@contextlib.contextmanager
def output_to(path: Path):
    """File descriptors 1 and 2 write to `path` inside. Straight into the file, so that a crash loses no line."""
    log = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip((1, 2), saved):
            os.dup2(original, number)
            os.close(original)
        os.close(log)
        remove_noise(path)


def remove_noise(path: Path) -> None:
    """Takes the lines out of a log that tell nobody anything."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if NOISE not in line]
    if len(kept) < len(lines):
        temporary = path.with_name(path.name + ".part")
        temporary.write_bytes(b"".join(kept))
        temporary.replace(path)
