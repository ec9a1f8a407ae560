"""Files, written so that a power cut leaves either the old content or the new."""

import contextlib
import errno
import hashlib
import os
import stat
import time

from .context import ModuleError

CHUNK = 1024 * 1024


def kind(path):
    """What is at `path` itself: absent, file, directory, link or other."""
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "absent"
        raise
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "other"


def hashes(path, *names):
    """The hexadecimal digests of a file, read once, in the order of `names` (sha1, sha256, ...)."""
    digests = [hashlib.new(name) for name in names]
    with open(path, "rb") as source:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            for digest in digests:
                digest.update(chunk)
    return [digest.hexdigest() for digest in digests]


def default_mode(directory=False):
    """The mode a new file or directory gets from the umask."""
    mask = os.umask(0o022)
    os.umask(mask)
    return (0o777 if directory else 0o666) & ~mask


@contextlib.contextmanager
def replacing(path, mode=None, uid=-1, gid=-1):
    """Write a new file and put it in the place of `path` at the end of the block, atomically.

    Yields a binary file in the same directory (`.name` is its path). An existing file's owner and mode are kept
    where no others are given. A symlink at `path` is replaced, not followed. Raises OSError; ModuleError when the
    owner cannot be kept.
    """
    import tempfile

    directory = os.path.dirname(path) or "."
    try:
        old = os.lstat(path)
    except OSError:
        old = None
    descriptor, temporary = tempfile.mkstemp(prefix=".tvmops-", dir=directory)
    os.close(descriptor)
    try:
        with open(temporary, "wb") as target:
            yield target
            target.flush()
            _set_owner(target.fileno(), path, old, uid, gid)
            os.fchmod(target.fileno(), _mode_for(old, mode))
            os.fsync(target.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def write_bytes(path, data, mode=None, uid=-1, gid=-1):
    """Replace the content of `path` with `data`, atomically."""
    with replacing(path, mode, uid, gid) as target:
        target.write(data)


def backup(path):
    """Copy a file beside itself under a name with the time, owner and mode kept -> the copy's path."""
    import shutil

    copy = "%s.%d.%s~" % (path, os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
    status = os.stat(path)
    with open(path, "rb") as source, replacing(copy, status.st_mode & 0o7777, status.st_uid, status.st_gid) as target:
        shutil.copyfileobj(source, target, CHUNK)
    return copy


def make_directories(path, mode=None):
    """Make a directory and those above it -> the paths made, topmost first."""
    made = []
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path.rstrip("/"))
    for directory in reversed(missing):
        os.mkdir(directory)
        if mode is not None:
            os.chmod(directory, mode)
        made.append(directory)
    if made:
        sync_directory(os.path.dirname(made[0].rstrip("/")) or ".")
    return made


def sync_directory(path):
    """Make renames and removals in a directory last through a power cut."""
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


def _mode_for(old, mode):
    if mode is not None:
        return mode
    if old is not None and stat.S_ISREG(old.st_mode):
        return stat.S_IMODE(old.st_mode)
    return default_mode()


def _set_owner(descriptor, path, old, uid, gid):
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
