"""A swap file for the time of a build, where memory is not enough even for one job."""

import os
import subprocess

import probe

NAME = "tvmops-build.swap"  # by this name one that a killed build has left is known again
STEP = 256 << 20
LEAVE = 1 << 30  # bytes of disk that stay free
SECONDS = 600


class Swap:
    """The swap file of one build folder. `size` in bytes is 0 while there is none, `refused` says why not."""

    def __init__(self, folder):
        self.path = os.path.join(os.path.realpath(folder), NAME)
        self.size = 0
        self.refused = ""

    def need(self, lacking):
        """Add at least `lacking` bytes of swap. False when that cannot be: `refused` says why."""
        size = -(-lacking // STEP) * STEP
        self.refused = self._why_not(size)
        if self.refused:
            return False
        try:
            self._make(size)
        except (OSError, subprocess.SubprocessError) as error:
            self.refused = "making %s failed: %s" % (self.path, _reason(error))
            self.remove()
            return False
        self.size = size
        return True

    def _why_not(self, size):
        if os.getuid() != 0:
            return "only root can add swap"
        kind, device = filesystem(os.path.dirname(self.path))
        if kind in ("tmpfs", "ramfs", "overlay", "squashfs", "nfs", "nfs4", "fuse", "9p", "virtiofs"):
            return "%s is on %s, which cannot hold swap" % (os.path.dirname(self.path), kind)
        if "zram" in device:
            return "%s is on zram, that is in memory itself" % os.path.dirname(self.path)
        free = probe.free_bytes(os.path.dirname(self.path))
        if free < size + LEAVE:
            return "%d MB of disk are free, %d MB of swap and a reserve of %d MB need more" % (
                free >> 20,
                size >> 20,
                LEAVE >> 20,
            )
        return ""

    def _make(self, size):
        self.remove()
        # Created for its owner alone: what is swapped out is other programs' memory.
        handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            # Written, not reserved: some file systems refuse swap on blocks that hold nothing yet.
            zeros = bytes(1 << 20)
            for _ in range(size >> 20):
                os.write(handle, zeros)
            os.fsync(handle)
        finally:
            os.close(handle)
        _run(["mkswap", self.path])
        _run(["swapon", self.path])
        if not any(one["path"] == self.path for one in probe.swaps()):
            raise OSError(0, "swapon said nothing, yet /proc/swaps does not list it")

    def remove(self):
        """Take it away again; what it holds goes back to memory. Returns as `remove` below."""
        why = remove(self.path)
        self.size = 0
        return why


def remove(path):
    """Switch off and delete the swap file `path`, if there is one. Returns why that cannot be, "" when it is gone."""
    try:
        if any(one["path"] == path for one in probe.swaps()):
            _run(["swapoff", path])
        if os.path.lexists(path):
            os.unlink(path)
    except (OSError, subprocess.SubprocessError) as error:
        return _reason(error)
    return ""


def leftovers():
    """Active swap files of builds, this folder's or others'."""
    return [one["path"] for one in probe.swaps() if os.path.basename(one["path"]) == NAME]


def filesystem(folder):
    """(type, device) of the file system that holds `folder`."""
    best = ("", "", "")
    for line in probe.read("/proc/self/mounts").splitlines():
        device, where, kind = line.split()[:3]
        where = where.replace("\\040", " ")
        inside = folder == where or folder.startswith(where.rstrip("/") + "/")
        if inside and len(where) >= len(best[0]):
            best = (where, kind, device)
    return best[1], best[2]


def _run(argv):
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin", LC_ALL="C")
    done = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
        env=environment,
    )  # fmt: skip
    if done.returncode != 0:
        raise OSError(0, "%s: %s" % (argv[0], done.stdout.decode("utf-8", "replace").strip().split("\n")[-1]))


def _reason(error):
    return getattr(error, "strerror", None) or str(error)
