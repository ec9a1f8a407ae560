"""Sources that a wheel carries: fetched with pip, verified, and completed by an overlay of the project's own files."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmops.digests import file_sha256
from tvmops.errors import MissingTool, StackError
from tvmops.stack.environment import OnProgress, locked, run_logged
from tvmops.stack.sources.keep import sources_dir

PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 41)))
PIP_DEADLINE = 900.0  # seconds


def fetch_wheel(source: Mapping[str, Any], on_progress: OnProgress) -> Path:
    """The wheel that `source` pins, from the cache or with pip. Raises StackError, MissingTool."""
    folder = sources_dir() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = str(source["sha256"])
    kept = folder / f"{wanted[:16]}.whl"
    if kept.is_file() and file_sha256(kept) == wanted:
        return kept
    if importlib.util.find_spec("pip") is None:
        raise MissingTool(f"{sys.executable} has no pip, which fetches wheels", f"{sys.executable} -m ensurepip")
    # Another request, with another overlay, may want the same wheel.
    with locked(folder / f"{wanted[:16]}.lock", on_progress, 2 * PIP_DEADLINE):
        if not kept.is_file() or file_sha256(kept) != wanted:
            _fetch(source, kept, on_progress)
    return kept


def _fetch(source: Mapping[str, Any], kept: Path, on_progress: OnProgress) -> None:
    on_progress(f"fetching {source['pin']}")
    python = str(source.get("python") or "3.11")
    fresh = kept.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _download(str(source["pin"]), python, fresh, kept.parent / "pip.log", on_progress)
        _take(fresh, kept, source)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _download(pin: str, python: str, fresh: Path, log: Path, on_progress: OnProgress) -> None:
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
    argv += ["--disable-pip-version-check", "--no-input", "--dest", str(fresh)]
    argv += ["--implementation", "cp", "--python-version", python]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        argv += ["--abi", abi]
    for tag in PLATFORMS:
        argv += ["--platform", f"{tag}_x86_64"]
    run_logged([*argv, pin], log, on_progress, deadline=PIP_DEADLINE)


def _take(fresh: Path, kept: Path, source: Mapping[str, Any]) -> None:
    found = sorted(fresh.glob("*.whl"))
    if not found:
        raise StackError(f"pip brought no wheel of {source['pin']}", f"its output is in {kept.parent / 'pip.log'}")
    digest = file_sha256(found[0])
    if digest != source["sha256"]:
        raise StackError(
            f"{found[0].name}: the fetched file has the SHA-256 {digest}, not {source['sha256']}",
            "it was removed; the package index, or something on the way to it, gives another file than it should",
        )
    found[0].replace(kept)
