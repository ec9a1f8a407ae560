"""Wheels for boards: fetched once with pip for an architecture and a Python that need not be this machine's."""

from __future__ import annotations

import importlib.util
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from tvmops.digests import file_sha256
from tvmops.errors import MissingTool, StackError
from tvmops.paths import cache_dir
from tvmops.stack.environment import OnProgress, beside, locked, quiet, run_logged
from tvmops.stack.spec import Pin, version_tuple

NEWEST_GLIBC_MINOR = 40  # manylinux tags are asked for up to glibc 2.40
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


def fetch_wheels(
    pins: Sequence[Pin], arch: str, python: str, sums: Mapping[str, str], on_progress: OnProgress = quiet
) -> list[Wheel]:
    """The wheels of `pins` for boards of `arch` with Python `python` ("3.11"), each with the SHA-256 that `sums` names.

    Raises StackError, also for a wheel that is not in `sums` or whose content differs.
    """
    folder = cache_dir() / "wheels" / f"{arch}-py{python}"
    with locked(beside(folder, ".lock"), on_progress):
        folder.mkdir(parents=True, exist_ok=True)
        missing = [pin for pin in pins if _cached(folder, pin, sums) is None]
        if missing:
            _download(folder, missing, arch, python, on_progress)
            for pin in missing:
                _check(folder, pin, sums)
        return [_wheel(folder, pin, sums) for pin in pins]


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by wheel file name, from a file in the form of sha256sum(1). Raises StackError when it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise StackError(
            f"{path}: {error.strerror}", "it holds the SHA-256 of every wheel that boards may get"
        ) from None
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


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


def _check(folder: Path, pin: Pin, sums: Mapping[str, str]) -> None:
    """Raise StackError, and remove the file, unless what was fetched is what the stack pins."""
    path = _find(folder, pin)
    if path is None:
        raise StackError(f"pip brought no wheel of {pin}", f"its output is in {folder / 'pip.log'}")
    digest = file_sha256(path)
    if sums.get(path.name) == digest:
        return
    path.unlink()
    if path.name not in sums:
        raise StackError(
            f"{path.name} is not among the wheels that the stack pins",
            f"if it is to be trusted, add this line to the stack's .sha256 file: {digest}  {path.name}",
        )
    raise StackError(
        f"{path.name}: the fetched file has the SHA-256 {digest}, not {sums[path.name]}",
        "it was removed; the package index, or something on the way to it, gives another file than it should",
    )


def _cached(folder: Path, pin: Pin, sums: Mapping[str, str]) -> Path | None:
    """The wheel on disk, when it is what the stack pins; another one is removed."""
    path = _find(folder, pin)
    if path is None:
        return None
    if sums.get(path.name) == file_sha256(path):
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


def _wheel(folder: Path, pin: Pin, sums: Mapping[str, str]) -> Wheel:
    path = _find(folder, pin)
    assert path is not None
    try:
        licence = _licence(path)
    except zipfile.BadZipFile as error:
        path.unlink()
        raise StackError(f"{path.name} is damaged", "run again: it was removed and will be fetched anew") from error
    return Wheel(pin.name, pin.version, path, sums[path.name], glibc_floor(path.name), licence)


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
