"""Modes, owners and directories on the disk, as agent/files.py needs them."""

import errno
import os
import stat
import zlib

from . import overlay
from .context import ModuleError

TEMPORARY = ".tvmops-"  # what new files are called until they are complete


def temporary_name(path):
    """What a new file is called until it takes the place of `path`: always the same, so that a left one is found."""
    directory, name = os.path.split(path.rstrip("/"))
    return os.path.join(directory or ".", "%s%08x" % (TEMPORARY, zlib.crc32(os.fsencode(name)) & 0xFFFFFFFF))


def make_temporary(path):
    """An empty file beside `path` that only this user can read -> its path. Raises OSError."""
    name = temporary_name(path)
    for _ in range(3):
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            return name
        except FileExistsError:
            try:
                os.unlink(name)  # a killed agent's, or a power cut's
            except OSError:
                break
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=os.path.dirname(name))
    os.close(descriptor)
    return name


def default_mode(directory=False):
    """The mode a new file or directory gets from the umask."""
    mask = os.umask(0o022)
    os.umask(mask)
    return (0o777 if directory else 0o666) & ~mask


def sync_directory(path):
    """Make renames and removals in a directory last through a power cut."""
    if overlay.active() is not None:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # a directory that may be written but not read
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


def mode_for(old, mode):
    """The mode of a file that replaces one with the status `old`: as asked, as it was, or what the umask leaves."""
    if mode is not None:
        return mode
    if old is not None and stat.S_ISREG(old.st_mode):
        return stat.S_IMODE(old.st_mode)
    return default_mode()


def set_owner(descriptor, path, old, uid, gid):
    """Give an open file the owner that is asked for (-1: that of the file it replaces). Raises ModuleError."""
    if old is not None and not stat.S_ISLNK(old.st_mode):
        uid = old.st_uid if uid == -1 else uid
        gid = old.st_gid if gid == -1 else gid
    new = os.fstat(descriptor)
    if uid in (-1, new.st_uid) and gid in (-1, new.st_gid):
        return
    try:
        os.fchown(descriptor, uid, gid)
    except PermissionError:
        raise ModuleError("may not give %s the owner %d:%d: this needs become" % (path, uid, gid))
