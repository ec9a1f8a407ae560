"""Waiting for the package manager's locks, and saying who holds them."""

import errno
import fcntl
import os
import time

LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)


def is_locked(path):
    """True when another process holds the lock on `path`. The lock is tried and given back at once."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # not there: nobody can hold it; not ours to open: apt-get will say so
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except (IOError, OSError) as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(fd)


def holders(path, root="/"):
    """["apt-get (pid 12)", ...]: the processes that have `path` open."""
    proc = os.path.join(root, "proc")
    found = []
    for pid in sorted((name for name in os.listdir(proc) if name.isdigit()), key=int):
        if int(pid) == os.getpid():
            continue
        try:
            fds = os.listdir(os.path.join(proc, pid, "fd"))
            links = [os.readlink(os.path.join(proc, pid, "fd", fd)) for fd in fds]
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
        if path in links:
            found.append("%s (pid %s)" % (_command(proc, pid), pid))
    return found


def _command(proc, pid):
    try:
        with open(os.path.join(proc, pid, "cmdline"), "rb") as stream:
            words = stream.read(400).decode("utf-8", "replace").split("\0")
    except (IOError, OSError):
        return "a process"
    return " ".join(word for word in words if word)[:100] or "a process"


def wait(deadline, progress, paths=LOCKS):
    """Wait until no lock is held. Returns "", or at `deadline` (of time.time()) a text with the lock and its holder."""
    while True:
        held = [path for path in paths if is_locked(path)]
        if not held:
            return ""
        who = ", ".join(holders(held[0])) or "another process"
        if time.time() >= deadline:
            return "%s is locked by %s" % (held[0], who)
        progress("waiting for %s, held by %s" % (held[0], who))
        time.sleep(min(0.5, max(0.05, deadline - time.time())))
