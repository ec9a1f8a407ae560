"""Control groups: what holds a board together, freezes it, limits it and ends it.

Every board is one group in the unified hierarchy. On a hybrid system the same folders also exist in the old `cpu`
hierarchy (its quota is the only one there) and in `name=systemd` (systemd inside a board looks for itself there).
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import LabError

PERIOD_US = 100_000


@dataclass(frozen=True)
class Hierarchies:
    """Where this machine's control groups are mounted: the unified ones, and what a hybrid system has beside them."""

    unified: Path
    cpu: Path | None
    named: Path | None


@functools.cache
def hierarchies() -> Hierarchies:
    """Read the mounts. Raises LabError when there is no unified hierarchy."""
    mounts = [line.split()[1:4] for line in Path("/proc/mounts").read_text().splitlines()]
    unified = [Path(where) for where, kind, _ in mounts if kind == "cgroup2"]
    legacy = [(Path(where), options.split(",")) for where, kind, options in mounts if kind == "cgroup"]
    if not unified:
        raise LabError(
            "this machine has no cgroup2 file system mounted, which the lab needs to hold boards together",
            "mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    return Hierarchies(
        unified=unified[0],
        cpu=next((where for where, words in legacy if "cpu" in words), None),
        named=next((where for where, words in legacy if "name=systemd" in words), None),
    )


class Cgroup:
    """One group, e.g. `tvmops-lab/b1`, in all the hierarchies that matter."""

    def __init__(self, name: str) -> None:
        self.name = name
        roots = hierarchies()
        self.path = roots.unified / name
        self.legacy = [root / name for root in (roots.cpu, roots.named) if root is not None]
        self._cpu = roots.cpu / name if roots.cpu is not None else None

    def child(self, name: str) -> Cgroup:
        """The group `name` inside this one."""
        return Cgroup(f"{self.name}/{name}")

    def create(self) -> None:
        """Make the group. Raises LabError when the kernel does not allow it."""
        try:
            for path in (self.path, *self.legacy):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabError(
                f"control group {error.filename}: {error.strerror}",
                "the lab needs a writable cgroup file system (in a container: run it privileged)",
            ) from error
        if self._cpu is None:
            self._enable_cpu()

    def _enable_cpu(self) -> None:
        unified = hierarchies().unified
        for parent in reversed(self.path.parents):
            if parent == unified or unified in parent.parents:
                # Not every kernel hands the controller out here; the `cpu` fault then says so.
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text("+cpu")

    def join_files(self) -> list[str]:
        """The files into which a process writes its id to join."""
        return [str(path / "cgroup.procs") for path in (self.path, *self.legacy)]

    def exists(self) -> bool:
        """Whether the group is there in any hierarchy."""
        return any(path.exists() for path in (self.path, *self.legacy))

    def processes(self) -> list[int]:
        """Ids of the processes in this group and below it."""
        found: list[int] = []
        for file in [self.path / "cgroup.procs", *self.path.glob("**/cgroup.procs")]:
            with contextlib.suppress(OSError):
                found += [int(word) for word in file.read_text().split()]
        return list(dict.fromkeys(found))

    def populated(self) -> bool:
        """Whether a live process is in the group or below it."""
        return self._event("populated")

    def frozen(self) -> bool:
        """Whether the group is frozen."""
        return self._event("frozen")

    def _event(self, key: str) -> bool:
        try:
            return f"{key} 1" in (self.path / "cgroup.events").read_text()
        except OSError:
            return False

    def freeze(self, on: bool) -> None:
        """Stop every process in the group where it stands, or let them all go on."""
        (self.path / "cgroup.freeze").write_text("1" if on else "0")

    def limit_cpu(self, percent: float | None) -> None:
        """Allow `percent` of one core; None lifts the limit. Raises LabError where the kernel has no quota."""
        quota = None if percent is None else max(1000, round(percent * PERIOD_US / 100))
        try:
            if self._cpu is not None:
                (self._cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._cpu / "cpu.cfs_quota_us").write_text("-1" if quota is None else str(quota))
            else:
                (self.path / "cpu.max").write_text(f"{'max' if quota is None else quota} {PERIOD_US}")
        except OSError as error:
            raise LabError(f"this kernel offers no CPU quota: {error.filename}: {error.strerror}") from error

    def kill(self, deadline: float = 10.0) -> None:
        """End every process in the group at once and wait for them to be gone, at most `deadline` seconds."""
        if not self.path.exists():
            return
        with contextlib.suppress(OSError):
            self.freeze(False)
        (self.path / "cgroup.kill").write_text("1")
        limit = time.monotonic() + deadline
        while self.populated():
            if time.monotonic() > limit:
                raise LabError(f"control group {self.name}: processes {self.processes()} do not end")
            time.sleep(0.01)

    def remove(self, deadline: float = 5.0) -> None:
        """Remove the group and those below it, waiting at most `deadline` seconds for the kernel to let go."""
        limit = time.monotonic() + deadline
        while self.exists():
            for top in (self.path, *self.legacy):
                _remove_tree(top)
            if time.monotonic() > limit:
                raise LabError(f"control group {self.name} cannot be removed; it still has {self.processes()}")
            if self.exists():
                time.sleep(0.02)


def _remove_tree(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
