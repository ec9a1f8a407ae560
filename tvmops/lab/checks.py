"""What must hold before a lab is touched, and what must be gone after it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tvmops.errors import LabError
from tvmops.lab import images
from tvmops.lab.cgroup import Cgroup
from tvmops.lab.network import Network
from tvmops.lab.tools import run


def require_root() -> None:
    """Raises LabError unless this process is root."""
    if os.geteuid() != 0:
        raise LabError(
            "virtual boards need root: they have file systems, networks and control groups of their own",
            "run the command with sudo, or use this machine itself as a board (ansible_connection: local)",
        )


def default_deadline(count: int, arch: str) -> float:
    """Seconds that each of `count` boards starting together may take."""
    return 300.0 + 30.0 * count if images.emulated(arch) else 60.0 + 3.0 * count


def parse_size(text: int | str | None) -> int | None:
    """`400M`, `2G` or bytes -> bytes. Raises LabError."""
    if text is None or isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise LabError(f"'{text}' is not a size", "write it like 400M or 2G")
    size: int = int(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")
    if size < 32 * 1024**2:
        raise LabError(f"a disk of {text} is too small for a board", "use at least 32M")
    return size


def leftovers(lab_id: str, folder: Path, cgroup: Cgroup, network: Network) -> list[str]:
    """Whatever of a lab is still in the kernel, in words."""
    inside = f"{folder}/"
    found = [f"process {pid}" for pid in cgroup.processes()]
    found += [f"control group {cgroup.name}"] if cgroup.exists() else []
    found += [f"interface {name}" for name in network.links()]
    found += [f"firewall {table}" for table in network.tables()]
    mounts = Path("/proc/mounts").read_text().splitlines()
    found += [f"mount {line.split()[1]}" for line in mounts if inside in line]
    backing = run(["losetup", "-n", "-O", "NAME,BACK-FILE"], check=False).stdout.splitlines()
    found += [f"loop {line}" for line in backing if inside in line]
    for kind in ("propagate", "unix-export"):
        found += [str(path) for path in Path("/run/systemd/nspawn").glob(f"{kind}/{lab_id}-*")]
    return found
