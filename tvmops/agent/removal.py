"""Removing a directory tree: into the run's journal where it can be kept, else for good."""

import os
import stat

from . import journal
from .context import ModuleError


def remove_tree(path):
    """Remove a directory with all that is in it. Raises OSError; ModuleError when a file system is mounted in it."""
    import shutil

    size, mounted = _measured(path)
    if mounted:
        raise ModuleError("a file system is mounted at %s: unmount it first" % mounted, path=path)
    notes = journal.active()
    if notes is None:
        shutil.rmtree(path)
        return
    was = journal.state_of(path)
    gone = {"kind": "absent"}
    if size > journal.LIMIT:
        notes.note(path, dict(was, lost="too large to keep (%d bytes)" % size), gone)
        shutil.rmtree(path)
        return
    if not (_moved(notes, path, was, gone) or _copied(notes, path, was, gone)):
        notes.note(path, dict(was, lost="it could not be kept"), gone)
        shutil.rmtree(path)


def _measured(path):
    """(bytes in a tree, or more than the limit as soon as that is clear; what is mounted in it or "")."""
    real = os.path.realpath(path)
    for point in _mount_points():
        if point == real or point.startswith(real.rstrip("/") + "/"):
            return 0, point
    size = 0
    for directory, folders, others in os.walk(path):
        for name in folders + others:
            size += os.lstat(os.path.join(directory, name)).st_blocks * 512
        if size > journal.LIMIT:
            break
    return size, ""


def _mount_points():
    try:
        with open("/proc/self/mountinfo", "rb") as source:
            fields = [line.split(b" ") for line in source]
    except (IOError, OSError):
        return []
    plain = [row[4] for row in fields if len(row) > 4]
    for code, letter in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        plain = [one.replace(code, letter) for one in plain]
    return [os.fsdecode(one) for one in plain]


def _moved(notes, path, was, gone):
    """Move the tree into the journal in one step. False where that cannot be (another disk, say)."""
    place = notes.place_for_tree(path)
    if place is None or not _may_move(path):
        return False
    directory, name, kept = place
    notes.note(path, dict(was, **kept), gone)
    os.rename(path, name, dst_dir_fd=directory)
    return True


def _may_move(path):
    """A directory can be moved elsewhere only by who may write into it, out of a parent without restrictions."""
    if os.geteuid() == 0:
        return True
    parent = os.stat(os.path.dirname(path) or ".")
    own = os.geteuid() in (os.lstat(path).st_uid, parent.st_uid)
    return os.access(path, os.W_OK) and (own or not parent.st_mode & stat.S_ISVTX)


def _copied(notes, path, was, gone):
    import shutil

    place = notes.place_for_copy()
    if place is None:
        return False
    target, kept = place
    try:
        copy_tree(path, target)
        os.sync()
    except OSError:
        shutil.rmtree(target, ignore_errors=True)
        return False
    notes.note(path, dict(was, **kept), gone)
    shutil.rmtree(path)
    return True


def copy_tree(source, target):
    """Copy a tree with modes, owners, times and links; devices, pipes and sockets are left out. Raises OSError."""
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode):
        os.mkdir(target, 0o700)
        for name in os.listdir(source):
            copy_tree(os.path.join(source, name), os.path.join(target, name))
    elif stat.S_ISREG(status.st_mode):
        import shutil

        shutil.copyfile(source, target)
    else:
        return
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
