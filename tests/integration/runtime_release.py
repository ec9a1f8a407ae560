"""A runtime artifact unpacked on this machine, as boards have it; shared by tests of artifacts and of RPC servers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tvmops.paths import project_root
from tvmops.stack import Artifact, ensure_artifact, load_stack

STACK = "relax-0.27"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
TOOLS = project_root() / "playbooks" / "files"


def artifact(part: str = "runtime") -> Artifact:
    """The artifact of this machine's architecture and Python."""
    return ensure_artifact(load_stack(STACK), "x86_64", PYTHON, part="runtime" if part == "runtime" else "baseline")


def unpack(made: Artifact, folder: Path) -> Path:
    """Unpack and check it as provisioning does."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-xf", made.path, "-C", folder], check=True)
    argv = [sys.executable, TOOLS / "release.py", "finish", folder]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def make_prefix(folder: Path) -> Path:
    """A prefix as an unprivileged board has it: releases/<key>, current."""
    made = artifact()
    unpack(made, folder / "releases" / made.key)
    (folder / "current").symlink_to(f"releases/{made.key}")
    return folder


def plain_python() -> str:
    """The interpreter without this virtual environment's packages."""
    return shutil.which(f"python{PYTHON}", path=f"{sys.base_prefix}/bin") or sys.executable
