"""Running programs of other architectures: qemu-user through the kernel's binfmt_misc.

Debian registers qemu without the `C` flag, so sudo gains no rights under it. The lab adds an entry of its own that has
it; the kernel asks the youngest entry first, and falls back to Debian's when the lab takes its own away.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from tvmops.errors import LabError
from tvmops.lab.tools import require, run

REGISTRY = Path("/proc/sys/fs/binfmt_misc")


def entry(qemu: str) -> Path:
    """The lab's own entry for the emulator `qemu`."""
    return REGISTRY / f"tvmops-{qemu}"


def register(qemu: str) -> None:
    """Let the kernel run programs through `qemu`, sudo included. Raises MissingTool, or LabError when it will not."""
    require(["update-binfmts", f"{qemu}-static"])
    if not (REGISTRY / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", REGISTRY])
    if entry(qemu).exists():
        return
    system = REGISTRY / qemu
    if not system.exists():
        run(["update-binfmts", "--enable", qemu])
    try:
        (REGISTRY / "register").write_text(own_entry(qemu, system.read_text()))
    except FileExistsError:
        return  # another lab has just done so
    except OSError as error:
        raise LabError(
            f"the kernel does not run programs through {qemu}: {error.strerror}",
            f"install qemu-user-static and binfmt-support, and check {REGISTRY}",
        ) from error


def own_entry(qemu: str, system: str) -> str:
    """The line that registers the lab's entry: the system's, as the kernel shows it, but with the program's rights."""
    values = dict(line.split(maxsplit=1) for line in system.splitlines() if " " in line)
    magic, mask = (re.sub("(..)", r"\\x\1", values[name]) for name in ("magic", "mask"))
    flags = "".join(sorted({*values["flags:"].strip(), *"COF"}))
    return f":tvmops-{qemu}:M::{magic}:{mask}:{values['interpreter']}:{flags}"


def in_use(qemu: str) -> bool:
    """Whether any program runs under `qemu` now, also one of a lab whose folder nobody here knows."""
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if link.readlink().name in (qemu, f"{qemu}-static"):
                return True
    return False


def unregister(qemu: str) -> None:
    """Take the lab's entry away, unless boards still need it: without it their sudo gains no rights."""
    if entry(qemu).exists() and not in_use(qemu):
        entry(qemu).write_text("-1")
