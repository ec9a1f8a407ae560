"""What is at a path: the reading half of agent/files.py, which sees what a check run has predicted."""

import errno
import fnmatch
import glob
import hashlib
import os
import stat
import time

from . import overlay
from .node import Unknown

CHUNK = 1024 * 1024
FRESH = 2.0  # seconds: a file's times are no finer than the system's ticks
MOST_HASHED = 1000  # files
NOTHING = (errno.ENOENT, errno.ENOTDIR)
_hashed = {}  # path -> (its stamp, {name: digest})


def kind(path):
    """What is at `path` itself: absent, file, directory, link or other. Raises OSError and Unknown."""
    found = status(path, follow=False)
    if found is None:
        return "absent"
    if stat.S_ISLNK(found.st_mode):
        return "link"
    if stat.S_ISDIR(found.st_mode):
        return "directory"
    return "file" if stat.S_ISREG(found.st_mode) else "other"


def status(path, follow=True):
    """An os.stat_result (in check mode something with the same attributes), None when nothing is there."""
    if overlay.active() is not None:
        return overlay.active().tree.status(path, follow)
    try:
        return os.stat(path) if follow else os.lstat(path)
    except OSError as error:
        if error.errno in NOTHING or (follow and error.errno == errno.ELOOP):
            return None
        raise


def need_status(path, follow=True):
    """As `status`. Raises FileNotFoundError when nothing is there."""
    found = status(path, follow)
    if found is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return found


def exists(path):
    """True when something is there, links followed."""
    if overlay.active() is not None:
        return overlay.active().tree.exists(path)
    return os.path.exists(path)


def is_directory(path):
    """True for a directory or a link to one."""
    return _is(path, stat.S_ISDIR)


def is_file(path):
    """True for a regular file or a link to one."""
    return _is(path, stat.S_ISREG)


def open_file(path):
    """The content of a file as a binary file, to be used as a context manager. Raises OSError and Unknown."""
    if overlay.active() is not None:
        return overlay.active().tree.open(path)
    return open(path, "rb")


def read(path):
    """The content of a file. Raises OSError and Unknown."""
    with open_file(path) as source:
        return source.read()


def hashes(path, *names):
    """The hexadecimal digests of a file, read once, in the order of `names` (sha1, sha256, ...).

    A file that was read before is not read again while the system says that it is the same.
    """
    stamp = _stamp(path) if overlay.active() is None else None
    known, digests = _hashed.get(path, (None, {}))
    if stamp is None or known != stamp or not all(name in digests for name in names):
        digests = _read_hashes(path, names)
        if stamp is not None and _stamp(path) == stamp:
            if len(_hashed) >= MOST_HASHED:
                _hashed.clear()
            _hashed[path] = (stamp, digests)
    return [digests[name] for name in names]


def _read_hashes(path, names):
    digests = {name: hashlib.new(name) for name in names}
    with open_file(path) as source:
        for chunk in iter(lambda: source.read(CHUNK), b""):
            for digest in digests.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _stamp(path):
    """What changes with a file's content; None when a change could go unnoticed, because the last one is fresh."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if abs(time.time() - found.st_ctime) < FRESH:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def may(path, right):
    """True when this process may do `right` (os.R_OK, os.W_OK, os.X_OK) with the file, links followed."""
    tree = overlay.active() and overlay.active().tree
    if not tree or tree.disk_path(path) is not None:
        return os.access(tree.disk_path(path) if tree else path, right)
    found = status(path)
    if found is None:
        return False
    shift = 6 if found.st_uid == os.geteuid() else 3 if found.st_gid in [os.getegid()] + os.getgroups() else 0
    if os.geteuid() == 0:
        return right != os.X_OK or stat.S_ISDIR(found.st_mode) or bool(found.st_mode & 0o111)
    return bool((found.st_mode >> shift) & right)


def content_of(path):
    """In check mode: a file's content in the form that `predict_file` takes. Raises OSError."""
    return overlay.active().tree.content(path)


def local_copy(path):
    """A path on the disk with this file's content. Raises OSError and Unknown."""
    if overlay.unsure() and not overlay.active().tree.exists(path):
        raise Unknown("%s is not on the board yet; an earlier task may bring it" % path)
    return path if overlay.active() is None else overlay.active().tree.local_copy(path)


def read_link(path):
    """Where a link leads. Raises OSError."""
    return os.readlink(path) if overlay.active() is None else overlay.active().tree.read_link(path)


def real_path(path):
    """The path without links in it; the file need not exist."""
    return os.path.realpath(path) if overlay.active() is None else overlay.active().tree.resolve(path)


def same_file(path, other):
    """True when both names are of one file. Raises OSError."""
    one, two = need_status(path), need_status(other)
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def names(path):
    """The names in a directory, sorted. Raises OSError."""
    return sorted(os.listdir(path)) if overlay.active() is None else overlay.active().tree.names(path)


def walk(path):
    """(directory, names of directories, other names) of a tree, topmost first, as os.walk; links are not followed."""
    folders, others = [], []
    for name in names(path):
        (folders if kind(os.path.join(path, name)) == "directory" else others).append(name)
    yield path, folders, others
    for name in folders:
        for found in walk(os.path.join(path, name)):
            yield found


def matching(pattern):
    """The paths that a shell pattern matches, sorted."""
    if overlay.active() is None:
        return sorted(glob.glob(pattern))
    if not glob.has_magic(pattern):
        return [pattern] if overlay.active().tree.exists(pattern, follow=False) else []
    folder, name = os.path.split(pattern)
    folders = matching(folder) if glob.has_magic(folder) else [folder]
    found = []
    for one in folders:
        if is_directory(one or "."):
            fitting = fnmatch.filter(names(one or "."), name) if name else [""]
            found += [os.path.join(one, each) for each in fitting if not each.startswith(".") or name.startswith(".")]
    return sorted(found)


def _is(path, test):
    try:
        found = status(path)
    except OSError:
        return False
    return found is not None and test(found.st_mode)
