"""Files out of Python wheels, by package, version and sha256. Downloaded once; offline afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List

from ..failures import JobError
from ..job import file_sha256
from .locked import locked

DOWNLOAD_SECONDS = 600


def wheel_path(source: Dict[str, Any], cache_dir: Path) -> Path:
    """The wheel that `source` (package, version, wheel_sha256, tags) names. Raises JobError (Download)."""
    folder = cache_dir / "wheels" / source["wheel_sha256"]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        present = sorted(folder.glob("*.whl"))
        return present[0] if present else _download(source, folder)


def member_bytes(wheel: Path, member: str) -> bytes:
    """A file's content inside a wheel. Raises JobError (BadInput) when it is not there."""
    with zipfile.ZipFile(str(wheel)) as archive:
        try:
            return archive.read(member)
        except KeyError:
            raise JobError("BadInput", f"{wheel.name} has no file '{member}'") from None


def member_path(source: Dict[str, Any], member: str, sha256: str, cache_dir: Path) -> Path:
    """A file extracted from the wheel, its content checked."""
    target = cache_dir / "models" / sha256 / Path(member).name
    if target.is_file() and file_sha256(target) == sha256:
        return target
    data = member_bytes(wheel_path(source, cache_dir), member)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(data)
    found = file_sha256(temporary)
    if found != sha256:
        temporary.unlink()
        raise JobError("Download", f"'{member}' of {source['package']} has sha256 {found}, the workload says {sha256}")
    temporary.replace(target)
    return target


def _download(source: Dict[str, Any], folder: Path) -> Path:
    wanted = f"{source['package']}=={source['version']}"
    with tempfile.TemporaryDirectory(dir=str(folder)) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", scratch]
        _pip([*command, *_tag_options(source), wanted], wanted)
        wheels = list(Path(scratch).glob("*.whl"))
        if not wheels:
            raise JobError("Download", f"pip gave no wheel for {wanted}")
        found = file_sha256(wheels[0])
        if found != source["wheel_sha256"]:
            raise JobError(
                "Download", f"{wheels[0].name} has sha256 {found}, the workload says {source['wheel_sha256']}; not used"
            )
        target = folder / wheels[0].name
        wheels[0].replace(target)
    return target


def _pip(command: List[str], wanted: str) -> None:
    environment = {**os.environ, "PYTHONPATH": ""}
    try:
        done = subprocess.run(
            command,
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise JobError("Download", f"{wanted}: pip did not finish within {DOWNLOAD_SECONDS} s") from None
    text = done.stdout.decode("utf-8", "replace")
    print(text)
    if done.returncode:
        errors = [line for line in text.splitlines() if line.startswith("ERROR")] or text.splitlines()[-1:]
        reason = errors[-1] if errors else f"exit status {done.returncode}"
        raise JobError("Download", f"{wanted} cannot be downloaded: {reason}; the package index is needed once")


def _tag_options(source: Dict[str, Any]) -> List[str]:
    """pip's options for a wheel of other tags than this machine's: only a data file of it is used."""
    tags = source.get("tags")
    if not tags:
        return []
    try:
        python, abi, platforms = str(tags).split("-")
    except ValueError:
        raise JobError("BadInput", f"'tags' must read like cp311-cp311-manylinux_2_28_x86_64, not {tags}") from None
    options = ["--implementation", python[:2], "--abi", abi]
    if len(python) > 3:
        options += ["--python-version", f"{python[2]}.{python[3:]}"]
    for platform in platforms.split("."):
        options += ["--platform", platform]
    return options
