"""A swap file, present or absent, and in use or not as was asked; what the kernel says afterwards decides.

    TVMOPS_SWAP='{"path": "/var/lib/tvmops/swapfile", "mb": 2048, "state": "present", "force": false, "now": true,
                  "check": false}' python3 swap_file.py

Exit status 0: as it should be already; 3: changed (check: it would be); 1: it cannot be, and nothing is left of the
attempt. One line says which. /etc/fstab is not touched. Standard library only, Python 3.5 or newer.
"""

import json
import os
import subprocess
import sys

PROC = "/proc"
CONTAINER = "/run/systemd/container"
RESERVE_MB = 256  # left free for the rest of the system
UNFIT = {
    "tmpfs": "it is in memory itself",
    "ramfs": "it is in memory itself",
    "overlay": "the kernel cannot swap to a file that two file systems make up",
    "aufs": "the kernel cannot swap to a file that two file systems make up",
    "btrfs": "it copies what it writes",
    "zfs": "it copies what it writes",
    "bcachefs": "it copies what it writes",
    "nfs": "the network must not be needed to have memory",
    "nfs4": "the network must not be needed to have memory",
    "fuse": "a program must not be needed to have memory",
    "vfat": "everybody can read files there",
    "exfat": "everybody can read files there",
}
SIGNATURES = (b"SWAPSPACE2", b"SWAP-SPACE")
RIGHT, WRONG, CHANGED = 0, 1, 3
PIECE = 1 << 20


class Refused(Exception):
    """Why it cannot be done."""


def main():
    """Exit status as above, and one line."""
    asked = json.loads(os.environ["TVMOPS_SWAP"])
    try:
        status, text = (present if asked["state"] == "present" else absent)(asked)
    except Refused as reason:
        status, text = WRONG, str(reason)
    print(text)
    return status


def present(asked):
    """(exit status, line) of having it."""
    path, size = asked["path"], asked["mb"] << 20
    used = swaps()
    there = made(path, size)
    if there and (path in used or not asked["now"]):
        return RIGHT, "%s is there%s" % (path, in_use(used, path))
    refuse(asked)
    if asked["check"]:
        return CHANGED, "%s of %d MB would be %s" % (path, asked["mb"], "taken into use" if there else "made")
    if not there:
        off(path, used)
        create(path, size)
    if not asked["now"]:
        return CHANGED, "%s of %d MB is made; it is used from the next start on" % (path, asked["mb"])
    return CHANGED, take_into_use(path, size, used, new=not there)


def absent(asked):
    """(exit status, line) of not having it."""
    path, used = asked["path"], swaps()
    if path not in used and not os.path.lexists(path):
        return RIGHT, "there is no %s" % path
    foreign(path)
    if asked["check"]:
        return CHANGED, "%s would be removed" % path
    off(path, used)
    if os.path.lexists(path):
        os.unlink(path)
    return CHANGED, "%s is removed%s" % (
        path,
        "" if not swaps() else "; other swap stays: " + ", ".join(sorted(swaps())),
    )


def refuse(asked):
    """Raises Refused with all the reason there is, before anything is written."""
    path, kind = asked["path"], filesystem(asked["path"])
    if not 16 <= asked["mb"] <= 1 << 20:
        raise Refused("swap_mb is %d: wants megabytes, at least 16" % asked["mb"])
    if asked["now"] and os.path.exists(CONTAINER):
        raise Refused("this system is a container: its memory and swap are its host's, so give the host a swap file")
    if kind.split(".")[0] in UNFIT:
        raise Refused(
            "%s would be on %s: %s; give swap_path on another file system" % (path, kind, UNFIT[kind.split(".")[0]])
        )
    compressed = sorted(name for name in swaps() if os.path.basename(name).startswith("zram"))
    if compressed and not asked["force"]:
        raise Refused(
            "the swap here is compressed memory (%s), which some images set up anew at every start; a file beside it "
            "is used after it: give swap_force=true for that" % ", ".join(compressed)
        )
    foreign(path)
    room(path, asked["mb"])


def foreign(path):
    """Raises Refused when what is there is no swap file."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise Refused("%s is there and is no file" % path)
    if os.path.exists(path) and not signed(path) and os.path.getsize(path):
        raise Refused("%s is there and is no swap file: it stays; give another swap_path" % path)


def room(path, megabytes):
    """Raises Refused when the disk is too small."""
    folder = existing_folder(path)
    about = os.statvfs(folder)
    free = about.f_bavail * about.f_frsize >> 20
    have = os.path.getsize(path) >> 20 if os.path.exists(path) else 0
    if free + have < megabytes + RESERVE_MB:
        raise Refused(
            "no room for %d MB in %s: %d MB are free, and %d MB must stay so" % (megabytes, folder, free, RESERVE_MB)
        )


def existing_folder(path):
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.path.realpath(folder)


def filesystem(path):
    """The type of the file system on which `path` is or would be."""
    folder, best = existing_folder(path) + "/", ("", "unknown")
    with open(PROC + "/mounts") as stream:
        for line in stream:
            _, place, kind = line.split()[:3]
            place = place.replace("\\040", " ").rstrip("/") + "/"
            if folder.startswith(place) and len(place) >= len(best[0]):
                best = (place, kind)
    return best[1]


def swaps():
    """What the kernel swaps to: path -> KiB in use of it."""
    with open(PROC + "/swaps") as stream:
        rows = [line.split() for line in stream.read().splitlines()[1:]]
    return {row[0].replace("\\040", " "): int(row[3]) for row in rows if len(row) >= 5}


def in_use(used, path):
    return " and in use" if path in used else ", and is used from the next start on"


def signed(path):
    """Whether it bears the mark of a swap file."""
    with open(path, "rb") as stream:
        head = stream.read(65536)
    return any(head[page - 10 : page] in SIGNATURES for page in (4096, 8192, 16384, 65536))


def made(path, size):
    """Whether it is a swap file of that size that nobody else can read."""
    if not os.path.isfile(path):
        return False
    about = os.stat(path)
    return about.st_size == size and about.st_mode & 0o777 == 0o600 and about.st_uid == os.geteuid() and signed(path)


def create(path, size, plain=False):
    """A new swap file in place of what is there, whose room it needs; nothing is left when it fails."""
    partial = path + ".new"
    if os.path.exists(path):
        os.unlink(path)
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path), 0o755)
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            fill(descriptor, size, plain)
        finally:
            os.close(descriptor)
        tell("mkswap", partial)
        os.rename(partial, path)
    except OSError as error:
        raise Refused("%s cannot be made: %s" % (path, error.strerror))
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def fill(descriptor, size, plain):
    """Real blocks, no holes: at once where the file system can, else zeros."""
    if not plain:
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError:
            pass
    zeros = b"\0" * PIECE
    for _ in range(size // PIECE):
        os.write(descriptor, zeros)
    os.fsync(descriptor)


def take_into_use(path, size, before, new):
    """The line that says so. Raises Refused, with a new file gone again, when the kernel does not list it."""
    try:
        try:
            tell("swapon", path)
        except Refused:
            # Some file systems count what was reserved at once as holes.
            if not new:
                raise
            create(path, size, plain=True)
            tell("swapon", path)
        after = swaps()
        if path not in after:
            raise Refused("swapon said nothing, but %s/swaps does not list %s" % (PROC, path))
    except Refused:
        if new and path not in swaps():
            os.unlink(path)
        raise
    lost = sorted(set(before) - set(after))
    return "%s of %d MB is in use%s" % (path, size >> 20, "; gone meanwhile: " + ", ".join(lost) if lost else "")


def off(path, used):
    """Out of use. Raises Refused when what is in it would not fit into memory."""
    if path not in used:
        return
    with open(PROC + "/meminfo") as stream:
        rows = dict(line.split(":")[:2] for line in stream if ":" in line)
    free = int(rows["MemAvailable"].split()[0])
    if used[path] > free:
        raise Refused(
            "%s holds %d MB and %d MB of memory are free: end what needs them first"
            % (path, used[path] >> 10, free >> 10)
        )
    tell("swapoff", path)
    if path in swaps():
        raise Refused("swapoff said nothing, but %s is still in use" % path)


def tell(program, path):
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin", LC_ALL="C")
    try:
        subprocess.check_output([program, path], stderr=subprocess.STDOUT, env=environment, timeout=600)
    except OSError as error:
        raise Refused("%s cannot be run: %s" % (program, error.strerror))
    except subprocess.CalledProcessError as error:
        raise Refused("%s %s: %s" % (program, path, error.output.decode("utf-8", "replace").strip()))
    except subprocess.TimeoutExpired:
        raise Refused("%s %s took more than 10 minutes" % (program, path))


if __name__ == "__main__":
    sys.exit(main())
