"""Runtime artifacts: what a board needs of a stack, and nothing else, packed and named by its content."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tvmops.errors import StackError
from tvmops.paths import cache_dir
from tvmops.stack.artifact import Artifact, manifest_key, version_file, write_archive
from tvmops.stack.environment import OnProgress, locked, quiet
from tvmops.stack.spec import Pin, Stack, version_tuple
from tvmops.stack.wheels import Wheel, fetch_wheels, newest_glibc, read_sums

FORMAT = 1  # of the archive and manifest; a change makes new artifacts
Part = Literal["runtime", "baseline"]


def ensure_artifact(
    stack: Stack,
    arch: str = "x86_64",
    python: str = "3.11",
    on_progress: OnProgress = quiet,
    part: Part = "runtime",
) -> Artifact:
    """The artifact of `stack` for boards of `arch` with Python `python`, fetched and packed on first use.

    `part` "baseline" is ONNX Runtime, to be used beside the runtime. Raises StackError.
    """
    pins = _pins(stack, arch, python, part)
    folder = cache_dir() / "artifacts"
    known = folder / f"{stack.name}-{part}-{arch}-py{python}-{_identity(stack, pins, arch, python)}.json"
    with locked(known.with_suffix(".lock"), on_progress):
        artifact = _known(folder, known)
        if artifact is None:
            wheels = fetch_wheels(pins, arch, python, read_sums(Path(stack.path).with_suffix(".sha256")), on_progress)
            _check_glibc(stack, wheels, part)
            on_progress(f"packing the {part} artifact for {arch}, Python {python}")
            artifact = _pack(folder, stack, wheels, arch=arch, python=python, part=part)
            known.write_text(json.dumps({"key": artifact.key, "manifest": artifact.manifest}), encoding="utf-8")
    return artifact


def _pins(stack: Stack, arch: str, python: str, part: Part) -> list[Pin]:
    if stack.is_built and part == "runtime":
        raise StackError(f"the runtime of stack {stack.name} is compiled, not made of wheels", "tvmops --help build")
    if arch not in stack.architectures:
        raise StackError(f"stack {stack.name} has no runtime for {arch}", f"it has: {', '.join(stack.architectures)}")
    if not stack.supports_python(python):
        raise StackError(
            f"stack {stack.name} has no runtime for Python {python}",
            f"it needs {stack.python_min} or newer, below {stack.python_below}",
        )
    chosen = stack.runtime if part == "runtime" else stack.baseline
    pins = [pin for pin in chosen if pin.holds_for(python)]
    if not pins:
        raise StackError(f"stack {stack.name} names no packages for its {part} artifact")
    return pins


def _identity(stack: Stack, pins: list[Pin], arch: str, python: str) -> str:
    rules = [stack.rules.include, stack.rules.exclude]
    text = json.dumps([FORMAT, stack.name, stack.version, [str(pin) for pin in pins], rules, arch, python])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _known(folder: Path, known: Path) -> Artifact | None:
    try:
        stored = json.loads(known.read_text(encoding="utf-8"))
        path = _archive(folder, stored["key"])
        return Artifact(stored["key"], path, path.stat().st_size, stored["manifest"])
    except (OSError, ValueError, KeyError):
        return None


def _archive(folder: Path, key: str) -> Path:
    return folder / f"{key}.tar.gz"


def _check_glibc(stack: Stack, wheels: list[Wheel], part: Part) -> None:
    needed = newest_glibc(wheels)
    if part == "runtime" and version_tuple(needed) > version_tuple(stack.glibc):
        greedy = next(wheel for wheel in wheels if wheel.glibc == needed)
        raise StackError(
            f"{greedy.path.name} needs glibc {needed}, but stack {stack.name} promises to run with {stack.glibc}",
            f"pin another version, or write glibc: '{needed}' in {stack.path}",
        )


def _pack(folder: Path, stack: Stack, wheels: list[Wheel], *, arch: str, python: str, part: Part) -> Artifact:
    contents = _select(stack, wheels)
    manifest = _manifest(stack, wheels, contents, arch=arch, python=python, part=part)
    key = manifest_key(manifest)
    contents["manifest.json"] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    contents["VERSION"] = version_file(manifest, key)
    folder.mkdir(parents=True, exist_ok=True)
    path = _archive(folder, key)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as out:
        write_archive(out, contents)
    fresh.replace(path)
    return Artifact(key, path, path.stat().st_size, manifest)


def _select(stack: Stack, wheels: list[Wheel]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            chosen = [name for name in archive.namelist() if not name.endswith("/") and stack.rules.takes(name)]
            if not any(not name.split("/", 1)[0].endswith(".dist-info") for name in chosen):
                raise StackError(
                    f"{stack.path}: the artifact's rules take no file of {wheel.path.name}",
                    "add the package's folder to artifact: include",
                )
            for name in chosen:
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise StackError(f"{wheel.path.name} holds the unsafe path {name}", "do not use this wheel")
                contents[name] = archive.read(name)
    return contents


def _manifest(
    stack: Stack, wheels: list[Wheel], contents: dict[str, bytes], *, arch: str, python: str, part: Part
) -> dict[str, Any]:
    packages = [
        {
            "name": wheel.name,
            "version": wheel.version,
            "wheel": wheel.path.name,
            "sha256": wheel.sha256,
            "licence": wheel.licence,
        }
        for wheel in wheels
    ]
    files = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in sorted(contents.items())
    }
    return {
        "format": FORMAT,
        "part": part,
        "stack": stack.name,
        "api": stack.api,
        "tvm": stack.version,
        "arch": arch,
        "python": python,
        "glibc": newest_glibc(wheels),
        "packages": packages,
        "files": files,
    }
