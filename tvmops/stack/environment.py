"""The Python environments that compile: one virtual environment per stack, set of extras and Python."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tvmops.errors import StackError
from tvmops.paths import cache_dir
from tvmops.stack.lock import NO_HASH, Locked, locked_packages
from tvmops.stack.spec import Stack

MARKER = ".complete"
PIP_DEADLINE = 1800.0  # seconds: torch on a slow line
OnProgress = Callable[[str], None]


def quiet(_text: str) -> None:
    """The `on_progress` that shows nothing."""


def ensure_environment(stack: Stack, extras: Sequence[str] = (), on_progress: OnProgress = quiet) -> Path:
    """The interpreter of the stack's environment, made first when there is none. Raises StackError.

    Two processes asking at once make it once: the second waits for the first.
    """
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = tuple(sorted(set(extras)))
    folder = environment_path(stack, wanted)
    interpreter = folder / "bin" / "python"
    if (folder / MARKER).exists() and interpreter.exists():
        return interpreter
    if not stack.supports_python(python):
        raise StackError(
            f"stack {stack.name} has no wheels for Python {python}, which runs tvmops",
            f"run tvmops with Python {stack.python_min} or newer, below {stack.python_below}",
        )
    pins = [str(pin) for pin in stack.pins(python, wanted)]
    packages = locked_packages(stack, wanted)
    if not packages:
        on_progress(f"no lock of {stack.name} for Python {python} on this machine: packages are taken by version only")
    with locked(beside(folder, ".lock"), on_progress):
        if not (folder / MARKER).exists():
            _make(folder, pins, packages, on_progress)
    return interpreter


def environment_path(stack: Stack, extras: Sequence[str] = ()) -> Path:
    """Where the environment of these pins is, or would be. Raises ConfigError for an unknown extra."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pins = [str(pin) for pin in stack.pins(python, tuple(sorted(set(extras))))]
    # An environment points at the interpreter it was made with, so that belongs to its identity.
    identity = [sorted(pins), python, getattr(sys, "_base_executable", sys.executable)]
    identity += [one.line() for one in locked_packages(stack, extras)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
    return cache_dir() / "envs" / "-".join([stack.name, *sorted(set(extras)), f"py{python}", key])


def beside(path: Path, ending: str) -> Path:
    """A path like `path` with `ending` added; with_suffix would cut at the dot of "py3.11"."""
    return path.parent / (path.name + ending)


@contextmanager
def locked(path: Path, on_progress: OnProgress = quiet, deadline: float = PIP_DEADLINE) -> Iterator[None]:
    """Hold an exclusive file lock; it goes with the process. Raises StackError after `deadline` seconds of waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        give_up = time.monotonic() + deadline
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    on_progress("waiting for another tvmops that makes the same thing")
                    told = True
                if time.monotonic() > give_up:
                    raise StackError(
                        f"{path}: another process has held this lock for {deadline:.0f} s",
                        "end that process, then run again",
                    ) from None
                time.sleep(0.2)
        yield


def _make(folder: Path, pins: list[str], packages: Sequence[Locked], on_progress: OnProgress) -> None:
    # Virtual environments cannot be moved: build in place, and let the marker say that it is whole.
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = beside(folder, ".log")
    on_progress(f"making the environment {folder.name}")
    run_logged([sys.executable, "-m", "venv", str(folder)], log, on_progress, deadline=300.0)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    hashed = [one.requirement() for one in packages if one.sha256 != NO_HASH]
    if hashed:
        (folder / "locked.txt").write_text("\n".join(hashed) + "\n", encoding="utf-8")
        by_hash = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(folder / "locked.txt")]
        run_logged([*install, *by_hash], log, on_progress, append=True)
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
    if len(hashed) < max(1, len(packages)):
        run_logged([*install, "-r", str(folder / "requirements.txt")], log, on_progress, append=True)
    run_logged([python, "-m", "pip", "freeze", "--disable-pip-version-check"], folder / "installed.txt", quiet)
    marker = folder / f"{MARKER}.new"
    marker.write_text("\n".join(pins) + "\n", encoding="utf-8")
    marker.replace(folder / MARKER)


def run_logged(
    argv: Sequence[str],
    log: Path,
    on_progress: OnProgress,
    deadline: float = PIP_DEADLINE,
    append: bool = False,
) -> None:
    """Run a program, its output kept in `log`, each line told. Raises StackError with the log's end when it fails."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    with log.open("a" if append else "w", encoding="utf-8") as out:
        process = subprocess.Popen(
            list(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(deadline, end)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                out.flush()
                on_progress(line.strip())
            code = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close() if process.stdout else None
    if code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        why = f" (deadline {deadline:.0f} s)" if late.is_set() else ""
        program = " ".join(argv[1:4])
        raise StackError(f"{program} failed with exit code {code}{why}:\n{tail}", f"the whole output is in {log}")
