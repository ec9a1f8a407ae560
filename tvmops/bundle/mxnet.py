"""MXNet's wheels for a bundle: the board says which it takes, pip fetches them for it here."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmops.connection.base import Connection
from tvmops.digests import file_sha256
from tvmops.errors import BundleError, MissingTool, StackError
from tvmops.paths import find_project_file
from tvmops.stack.environment import quiet, run_logged

VARIABLES = "playbooks/vars/mxnet.yml"  # holds mxnet_question, which playbooks/tasks/mxnet.yml asks, too
PROGRAM = "playbooks/files/wheel_choice.py"
FOLDER = "wheels"  # in the bundle: wheels/<key of the choice>/<name>
OWN = "-own"  # follows the key in the name of the folder with the wheel that mxnet_wheel names
CHOICE_DEADLINE = 60.0  # seconds
OLDEST_GLIBC_MINOR = 5  # manylinux tags begin with glibc 2.5
_OLD_TAGS = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


def choose(connection: Connection, python: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """What wheel_choice.py, run by the board's `python`, says to `question` (mxnet_question). Raises BundleError."""
    program = find_project_file(PROGRAM).read_bytes()
    command = shlex.join([python, "-", "choose", json.dumps(question)])
    done = connection.run(command, stdin=program, timeout=CHOICE_DEADLINE)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = (done.stdout + done.stderr).strip().splitlines()
        answer = {"problem": said[-1] if said else f"exit status {done.rc}"}
    if "problem" in answer:
        raise BundleError(f"{connection.host.name}: MXNet: {answer['problem']}", "docs/mxnet.md")
    return answer


def fetch(choice: Mapping[str, Any], given: str, folder: Path) -> dict[str, Path]:
    """The wheels of a choice, brought to `folder`: name in the bundle -> local path. `given`: mxnet_wheel, or "".

    Raises BundleError.
    """
    if importlib.util.find_spec("pip") is None:
        raise MissingTool(f"{sys.executable} has no pip, which fetches wheels", f"{sys.executable} -m ensurepip")
    folder.mkdir(parents=True)
    if choice["send"]:
        _copy_own(choice, folder)
    for number, text in enumerate((choice["first"], choice["requirements"])):
        lines = [line for line in text.splitlines() if not (choice["send"] and line.startswith("/"))]
        if lines:
            asked = folder.with_name(f"{folder.name}.{number}.txt")
            asked.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            try:
                run_logged(_pip(choice, asked, folder), asked.with_suffix(".log"), quiet)
            except StackError as error:
                raise BundleError(f"MXNet: {error.message}", "a package index is needed: pip.conf") from None
    found = {}
    for path in sorted(folder.glob("*.whl")):
        kind = OWN if given and path.name == choice["wheel"] else ""
        found[f"{FOLDER}/{choice['key']}{kind}/{path.name}"] = path
    return found


def _copy_own(choice: Mapping[str, Any], folder: Path) -> None:
    """The wheel that mxnet_wheel names, a file of this machine."""
    path = folder / choice["wheel"]
    try:
        shutil.copyfile(choice["send"], path)
    except OSError as error:
        raise BundleError(f"mxnet_wheel: {choice['send']}: {error.strerror}") from None
    digest = file_sha256(path)
    if f"/{path.name} --hash=sha256:{digest}\n" not in choice["requirements"]:
        raise BundleError(f"mxnet_wheel: {choice['send']} has the SHA-256 {digest}", "another one is named or known")


def about(choice: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """What the lock says of a host's wheels. `wheel`: the one that mxnet_wheel names."""
    found: dict[str, Any] = {"folder": f"{FOLDER}/{choice['key']}", "files": sorted(files)}
    given = [name for name in files if f"{OWN}/" in name]
    return found | ({"wheel": given[0]} if given else {})


def mxnet_variables(folder: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """What tells provisioning to take the wheels from the unpacked bundle in `folder`."""
    variables = {"mxnet_wheelhouse": str(folder / found["folder"])}
    if "wheel" in found:
        variables["mxnet_wheel"] = str(folder / found["wheel"])
    return variables


def _pip(choice: Mapping[str, Any], asked: Path, folder: Path) -> list[str]:
    """pip's command line, which fetches for the board and not for this machine."""
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    argv += ["--progress-bar", "off", "--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    argv += ["--implementation", "cp", "--python-version", choice["python"]]
    own = "cp" + choice["python"].replace(".", "")
    for abi in (own, f"{own}m", "abi3", "none"):
        argv += ["--abi", abi]
    for tag in platforms(choice["glibc"], choice["arch"]):
        argv += ["--platform", tag]
    return [*argv, "-r", str(asked)]


def platforms(glibc: str, arch: str) -> list[str]:
    """The platform tags of wheels that a board with this C library ("2.36") takes, the most modest first."""
    match = re.match(r"2\.(\d+)$", glibc)
    tags = []
    for minor in range(OLDEST_GLIBC_MINOR, int(match[1]) + 1 if match else 0):
        tags += [f"manylinux_2_{minor}_{arch}"]
        tags += [f"{_OLD_TAGS[minor]}_{arch}"] if minor in _OLD_TAGS else []
    return [*tags, f"linux_{arch}"]
