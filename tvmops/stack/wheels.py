"""Wheels for boards: fetched once with pip for an architecture and a Python that need not be this machine's."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from tvmops.errors import MissingTool, StackError
from tvmops.paths import cache_dir
from tvmops.stack.environment import OnProgress, beside, locked, quiet, run_logged
from tvmops.stack.spec import Pin, version_tuple

NEWEST_GLIBC_MINOR = 40  # manylinux tags are asked for up to glibc 2.40
SUMS = "SHA256SUMS"
_TAG = re.compile(r"manylinux_2_(\d+)_")
_OLD_TAGS = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}


@dataclass(frozen=True)
class Wheel:
    """A fetched wheel. `glibc` is the oldest C library it may run with ("2.17"); "" when it holds no machine code."""

    name: str
    version: str
    path: Path
    sha256: str
    glibc: str
    licence: str


def fetch_wheels(pins: Sequence[Pin], arch: str, python: str, on_progress: OnProgress = quiet) -> list[Wheel]:
    """The wheels of `pins` for boards of `arch` with Python `python` ("3.11"). Raises StackError."""
    folder = cache_dir() / "wheels" / f"{arch}-py{python}"
    with locked(beside(folder, ".lock"), on_progress):
        folder.mkdir(parents=True, exist_ok=True)
        missing = [pin for pin in pins if _cached(folder, pin) is None]
        if missing:
            _download(folder, missing, arch, python, on_progress)
            _remember(folder, missing)
        return [_wheel(folder, pin) for pin in pins]


def _download(folder: Path, pins: list[Pin], arch: str, python: str, on_progress: OnProgress) -> None:
    if importlib.util.find_spec("pip") is None:
        raise MissingTool(f"{sys.executable} has no pip, which fetches wheels", f"{sys.executable} -m ensurepip")
    on_progress(f"fetching {len(pins)} wheels for {arch}, Python {python}")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
    argv += ["--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    argv += ["--implementation", "cp", "--python-version", python]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        argv += ["--abi", abi]
    # Older tags first: of several files of one version, the one that fits more boards.
    tags = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, NEWEST_GLIBC_MINOR + 1))]
    for tag in tags:
        argv += ["--platform", f"{tag}_{arch}"]
    run_logged([*argv, *(str(pin) for pin in pins)], folder / "pip.log", on_progress)


def _remember(folder: Path, pins: list[Pin]) -> None:
    sums = _sums(folder)
    for pin in pins:
        path = _find(folder, pin)
        if path is None:
            raise StackError(f"pip brought no wheel of {pin}", f"its output is in {folder / 'pip.log'}")
        sums[path.name] = file_sha256(path)
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    fresh = folder / f"{SUMS}.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(folder / SUMS)


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _cached(folder: Path, pin: Pin) -> Path | None:
    """The wheel on disk, when it is still what was fetched; a damaged one is removed."""
    path = _find(folder, pin)
    if path is None:
        return None
    if _sums(folder).get(path.name) == file_sha256(path):
        return path
    path.unlink()
    return None


def _find(folder: Path, pin: Pin) -> Path | None:
    wanted = (_normal(pin.name), pin.version)
    for path in sorted(folder.glob("*.whl")):
        name, version = path.name.split("-")[:2]
        if (_normal(name), version) == wanted:
            return path
    return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _wheel(folder: Path, pin: Pin) -> Wheel:
    path = _find(folder, pin)
    assert path is not None
    try:
        licence = _licence(path)
    except zipfile.BadZipFile as error:
        path.unlink()
        raise StackError(f"{path.name} is damaged", "run again: it was removed and will be fetched anew") from error
    return Wheel(pin.name, pin.version, path, _sums(folder)[path.name], glibc_floor(path.name), licence)


def glibc_floor(filename: str) -> str:
    """The oldest glibc that a wheel's file name promises to work with: its most modest tag; "" for pure Python."""
    minors = [int(minor) for minor in _TAG.findall(filename)]
    minors += [minor for tag, minor in _OLD_TAGS.items() if f"{tag}_" in filename]
    return f"2.{min(minors)}" if minors else ""


def newest_glibc(wheels: Sequence[Wheel]) -> str:
    """The glibc that all of `wheels` can live with: the highest of their floors."""
    return max((wheel.glibc for wheel in wheels if wheel.glibc), key=version_tuple, default="")


def _licence(path: Path) -> str:
    with zipfile.ZipFile(path) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        fields = HeaderParser().parsestr(wheel.read(name).decode("utf-8", "replace"))
    text = fields.get("License-Expression") or fields.get("License") or "see the package's dist-info folder"
    return " ".join(str(text).split())[:100]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
