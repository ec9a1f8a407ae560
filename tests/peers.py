"""Other tools that tests compare with, each in an environment of its own, made once and kept in the cache."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from tvmops.paths import cache_dir

ANSIBLE = "ansible-core==2.19.*"


def ansible_program() -> Path:
    """The path of a real ansible-playbook."""
    home = cache_dir() / "peers" / "ansible-core-2.19"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "ansible-core.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
            subprocess.run([str(home / "bin" / "pip"), "install", "-q", ANSIBLE], check=True)
            (home / "complete").touch()
    return home / "bin" / "ansible-playbook"
