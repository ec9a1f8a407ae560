"""Makes locks: what pip would install for a stack and each of its extras, without installing it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tvmops.errors import StackError
from tvmops.stack.environment import OnProgress, quiet, run_logged
from tvmops.stack.lock import BASE, NO_HASH, Locked, lock_path, normal_name, read_lock, section_name, write_lock
from tvmops.stack.spec import Stack

RESOLVE_DEADLINE = 900.0  # seconds
# Indexes differ in their builds (for CPUs, for each CUDA) and these in what they need: only the version is fixed.
UNLOCKED = ("torch",)


def make_lock(stack: Stack, interpreter: str = sys.executable, on_progress: OnProgress = quiet) -> Path:
    """Resolve all packages of a stack with the pip of `interpreter` and write that section of its lock.

    Packages are neither installed nor, but for their metadata, downloaded. Raises StackError.
    """
    python = _python_of(interpreter)
    if not stack.supports_python(python):
        raise StackError(
            f"stack {stack.name} has no wheels for Python {python} ({interpreter})", "give another --python"
        )
    pins = {BASE: [str(pin) for pin in stack.pins(python)]}
    for extra in stack.extras:
        pins[extra] = [str(pin) for pin in stack.pins(python, (extra,))]
    lockable = {
        name: [pin for pin in group if normal_name(pin.partition("==")[0]) not in UNLOCKED]
        for name, group in pins.items()
    }
    everything = sorted({pin for group in lockable.values() for pin in group})
    with tempfile.TemporaryDirectory() as scratch:
        on_progress(f"resolving {len(everything)} pins of {stack.name} for Python {python}")
        resolved = _resolve(interpreter, everything, [], Path(scratch), on_progress)
        versions = [f"{name}=={version}" for name, version, _ in resolved.values()]
        needs: dict[str, set[str]] = {}
        for extra, group in lockable.items():
            for key in _resolve(interpreter, group, versions, Path(scratch), on_progress):
                needs.setdefault(key, set()).add(extra)
    section = [
        Locked(name, version, sha256, (BASE,) if BASE in needs[key] else tuple(sorted(needs[key])))
        for key, (name, version, sha256) in sorted(resolved.items())
    ]
    for extra, group in pins.items():
        for name, _, version in (pin.partition("==") for pin in group):
            if normal_name(name) in UNLOCKED and not any(normal_name(one.name) == normal_name(name) for one in section):
                section.append(Locked(name, version, NO_HASH, (extra,)))
    path = lock_path(stack)
    write_lock(path, {**read_lock(path), section_name(python): section}, stack.name)
    return path


def _resolve(
    interpreter: str, pins: Sequence[str], constraints: Sequence[str], scratch: Path, on_progress: OnProgress
) -> dict[str, tuple[str, str, str]]:
    """(name, version, sha256) of all that pip would install for `pins`, by normal name. Raises StackError."""
    report, limits = scratch / "report.json", scratch / "constraints.txt"
    limits.write_text("\n".join(constraints) + "\n", encoding="utf-8")
    argv = [interpreter, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    argv += ["--disable-pip-version-check", "--no-input", "--report", str(report), "-c", str(limits), *pins]
    run_logged(argv, scratch / "pip.log", on_progress, deadline=RESOLVE_DEADLINE)
    found = {}
    for one in json.loads(report.read_text(encoding="utf-8"))["install"]:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        digest = (one["download_info"].get("archive_info") or {}).get("hashes", {}).get("sha256")
        if not digest:
            raise StackError(f"the package index gives no SHA-256 for {name} {version}", "use an index that does")
        found[normal_name(name)] = (name, version, digest)
    return found


def _python_of(interpreter: str) -> str:
    argv = [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"{interpreter} cannot be run: {error}", "give the path of a Python") from None
