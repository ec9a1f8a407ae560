"""What some faults do among a board's mounts. Run as a program through nsenter; needs only the standard library."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
FILL = ".fill"
LIBRARY = "/usr/lib/tvmops-lab/libfaketime.so.1"
OURS = ("LD_PRELOAD=/usr/lib/tvmops-lab/", "FAKETIME=", "FAKETIME_DONT_RESET=", "session required pam_env.so # lab")


def shutdown(disk: str) -> None:
    """Lose power: nothing that is not on the disk yet will ever get there."""
    descriptor = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))


def fill(disk: str, leave: str) -> None:
    """Fill the disk but for `leave` bytes."""
    descriptor = os.open(f"{disk}/{FILL}", os.O_RDWR | os.O_CREAT, 0o600)
    size = os.fstat(descriptor).st_size
    step = 1 << 40
    while step >= 4096:
        try:
            os.posix_fallocate(descriptor, size, step)
            size += step
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG):
                raise
            # A failed call may have taken some of the space.
            os.ftruncate(descriptor, size)
            step //= 2
    os.ftruncate(descriptor, max(0, size - int(leave)))
    os.fsync(descriptor)


def unfill(disk: str) -> None:
    """Free what `fill` took."""
    Path(disk, FILL).unlink(missing_ok=True)


def clock(root: str, offset: str) -> None:
    """Shift the clock that new logins, and what they run through sudo, see; an empty offset takes the shift away."""
    if not Path(root + LIBRARY).exists():
        sys.exit(f"the board's image has no {LIBRARY}")
    shift = [f"LD_PRELOAD={LIBRARY}", f"FAKETIME={offset}", "FAKETIME_DONT_RESET=1"] if offset else []
    rewrite(Path(root, "etc/environment"), shift)
    # sudo starts programs with a fresh environment: it has to read the same file.
    rewrite(Path(root, "etc/pam.d/sudo"), ["session required pam_env.so # lab"] if offset else [])


def rewrite(file: Path, lines: list[str]) -> None:
    """Replace this program's own lines in `file`."""
    old = file.read_text().splitlines() if file.exists() else []
    kept = [line for line in old if not line.startswith(OURS)]
    if not lines and len(kept) == len(old):
        return
    file.write_text("".join(f"{line}\n" for line in [*kept, *lines]))


ACTIONS: dict[str, Callable[..., None]] = {"shutdown": shutdown, "fill": fill, "unfill": unfill, "clock": clock}

if __name__ == "__main__":
    ACTIONS[sys.argv[1]](*sys.argv[2:])
