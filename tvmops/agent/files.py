"""Files, written so that a power cut leaves either the old content or the new.

Every module looks at files and changes them through the functions here (and `attributes`), never through os:
then the run's journal knows what was there before (`tvmops restore` undoes it), and in check mode nothing is
changed but later tasks see what would have been (agent/overlay.py).

Looking: `kind` and `status` say what is at a path, `exists`, `is_file` and `is_directory` follow links; `read`,
`open_file`, `hashes`, `read_link`, `real_path`, `same_file`, `names` (listdir), `walk` and `matching` (glob) are what
os has for it. Content that check mode cannot know raises `Unknown`; let it pass, perform.py makes a result of it.
Changing: `replacing` or `write_bytes` for content, `make_directories`, `make_link`, `make_hard_link`, `remove` (a
file, link or tree), `set_times`, `attributes.apply` (mode and owner), `backup`.

A state module whose `apply` changes files only (and runs no program in check mode) says `predict = apply`: check mode
then runs it against the overlay. One that does other things too gives a `predict(ctx, args, before, after)` of its
own; without any, a check run takes the rest for unsure. A module that misses something fails unless `unsure()`:
    if not files.exists(parent) and not files.unsure(): raise ModuleError(...)
"""

import contextlib
import errno
import io
import os
import stat
import time

from . import inodes, journal, overlay
from .context import ModuleError, may_come  # noqa: F401
from .inodes import default_mode, sync_directory
from .looking import (  # noqa: F401
    content_of,
    exists,
    hashes,
    is_directory,
    is_file,
    kind,
    local_copy,
    matching,
    may,
    names,
    need_status,
    open_file,
    read,
    read_link,
    real_path,
    same_file,
    status,
    walk,
)
from .node import Node, Unknown  # noqa: F401
from .overlay import unsure  # noqa: F401

CHUNK = 1024 * 1024


@contextlib.contextmanager
def replacing(path, mode=None, uid=-1, gid=-1, mtime_ns=None):  # noqa: PLR0917
    """Write a new file and put it in the place of `path` at the end of the block, atomically.

    Yields a binary file in the same directory (`.name` is its path). An existing file's owner and mode are kept
    where no others are given; `mtime_ns` in nanoseconds. A symlink at `path` is replaced, not followed. Raises OSError;
    ModuleError when the owner cannot be kept.
    """
    old = status(path, follow=False)
    if overlay.active() is not None:
        target = _Predicted(path)
        yield target
        content = ("bytes", target.getvalue())
        predict_file(path, content, mode, uid, gid, mtime_ns)
        return
    directory = os.path.dirname(path) or "."
    temporary = inodes.make_temporary(path)
    try:
        with open(temporary, "wb") as target:
            yield target
            target.flush()
            inodes.set_owner(target.fileno(), path, old, uid, gid)
            os.fchmod(target.fileno(), inodes.mode_for(old, mode))
            if mtime_ns is not None:
                os.utime(target.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(target.fileno())
            new = os.fstat(target.fileno())
        journal.note_change(path, old, journal.state_of(path, new))
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def predict_file(path, content, mode=None, uid=-1, gid=-1, mtime_ns=None):  # noqa: PLR0917
    """In check mode: a file would be put at `path`. content: as in tree.Node. Raises OSError, as writing would."""
    tree = overlay.active().tree
    old = tree.status(path, follow=False)
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if old is not None and not stat.S_ISLNK(old.st_mode):
        uid, gid = old.st_uid if uid == -1 else uid, old.st_gid if gid == -1 else gid
    when = _now_ns() if mtime_ns is None else mtime_ns
    tree.put(path, Node("file", content=content, mode=inodes.mode_for(old, mode), uid=uid, gid=gid, mtime_ns=when))


def predict_unknown(path, why):
    """In check mode: something would be at `path`, and nobody knows what. Without a place for it nothing is noted."""
    try:
        overlay.active().tree.put(path, Node("unknown", content=("unknown", why)))
    except OSError:
        pass


def write_bytes(path, data, mode=None, uid=-1, gid=-1):
    """Replace the content of `path` with `data`, atomically."""
    with replacing(path, mode, uid, gid) as target:
        target.write(data)


def backup(path):
    """Copy a file beside itself under a name with the time, owner and mode kept -> the copy's path."""
    import shutil

    copy = "%s.%d.%s~" % (path, os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
    found = need_status(path)
    with open_file(path) as source, replacing(copy, found.st_mode & 0o7777, found.st_uid, found.st_gid) as target:
        shutil.copyfileobj(source, target, CHUNK)
    return copy


def make_directories(path, mode=None):
    """Make a directory and those above it -> the paths made, topmost first."""
    made = []
    missing = []
    while path and not is_directory(path):
        missing.append(path)
        path = os.path.dirname(path.rstrip("/"))
    for directory in reversed(missing):
        _make_directory(directory, mode)
        made.append(directory)
    if made and overlay.active() is None:
        sync_directory(os.path.dirname(made[0].rstrip("/")) or ".")
    return made


def make_link(target, path):
    """Make a symlink, atomically in place of a file, link or empty directory. Raises OSError."""
    if overlay.active() is not None:
        _check_replaceable(path)
        overlay.active().tree.put(path, Node("link", target=target, mode=0o777, mtime_ns=_now_ns()))
        return
    now = {"kind": "link", "target": target, "mode": 0o777, "uid": os.geteuid(), "gid": os.getegid()}
    _put_in_place(path, now, lambda temporary: os.symlink(target, temporary))


def make_hard_link(source, path):
    """Make another name of a file, atomically in place of a file, link or empty directory. Raises OSError."""
    if overlay.active() is not None:
        _check_replaceable(path)
        overlay.active().tree.hard_link(source, path)
        return
    found = os.lstat(source)
    now = journal.state_of(source, found)
    if now["kind"] == "file":
        now["ino"] = found.st_ino
    _put_in_place(path, now, lambda temporary: os.link(source, temporary, follow_symlinks=False))


def remove(path):
    """Remove a file, a link or a whole tree. Raises OSError; ModuleError when a file system is mounted in it."""
    path = path.rstrip("/") or "/"
    if overlay.active() is not None:
        overlay.active().tree.remove(path)
        return
    old = os.lstat(path)
    if stat.S_ISDIR(old.st_mode):
        from .removal import remove_tree

        remove_tree(path)
    else:
        journal.note_change(path, old, journal.ABSENT)
        os.unlink(path)
    sync_directory(os.path.dirname(path) or ".")


def remove_directory(path):
    """Remove an empty directory. Raises OSError."""
    if overlay.active() is not None:
        _check_replaceable(path)
        overlay.active().tree.remove(path)
        return
    journal.note_change(path, os.lstat(path), journal.ABSENT)
    os.rmdir(path)
    sync_directory(os.path.dirname(path) or ".")


def set_times(path, atime_ns, mtime_ns):
    """Set the times of a file or directory, in nanoseconds, links followed. Raises OSError."""
    if overlay.active() is not None:
        overlay.active().tree.change(path, True, atime_ns=atime_ns, mtime_ns=mtime_ns)
        return
    if journal.active() is not None:
        was = journal.state_of(path, os.stat(path))
        if was["kind"] == "file":  # a directory's time changes with what is put into it
            journal.active().note(os.path.realpath(path), was, dict(was, mtime=mtime_ns), "times")
    os.utime(path, ns=(atime_ns, mtime_ns))


def set_attributes(path, mode=None, uid=-1, gid=-1, follow=True):
    """Set mode and owner where they differ (-1 and None: as they are). Raises OSError; ModuleError for the owner."""
    found = need_status(path, follow)
    if stat.S_ISLNK(found.st_mode):
        mode = None
    owner = uid not in (-1, found.st_uid) or gid not in (-1, found.st_gid)
    if not owner and mode in (None, stat.S_IMODE(found.st_mode)):
        return
    if overlay.active() is not None:
        overlay.active().tree.change(path, follow, mode=mode, uid=uid, gid=gid)
        return
    journal.note_attributes(path, found, (mode, uid, gid), follow)
    if owner:
        try:
            os.chown(path, uid, gid, follow_symlinks=follow)
        except PermissionError:
            raise ModuleError("may not change the owner of %s: this needs become" % path, path=path)
    # After the owner, because a change of owner clears setuid bits.
    if mode is not None and stat.S_IMODE(os.stat(path).st_mode) != mode:
        os.chmod(path, mode)


def _now_ns():
    return int(time.time() * 1e9)


class _Predicted(io.BytesIO):
    """What check mode writes to instead of a new file."""

    def __init__(self, path):
        io.BytesIO.__init__(self)
        self.name = path


def _make_directory(path, mode):
    if overlay.active() is not None:
        if status(path, follow=False) is not None:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        wanted = default_mode(directory=True) if mode is None else mode
        overlay.active().tree.put(path, Node("directory", mode=wanted, mtime_ns=_now_ns()))
        return
    if not os.path.lexists(path):
        journal.note_change(path, None, {"kind": "directory"})
    os.mkdir(path)
    if mode is not None:
        os.chmod(path, mode)


def _check_replaceable(path):
    if kind(path) == "directory" and names(path):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)


def _put_in_place(path, now, create):
    """Create under another name, then rename: at no moment is there nothing at `path`."""
    old = status(path, follow=False)
    temporary = inodes.temporary_name(path)
    if os.path.lexists(temporary):
        os.unlink(temporary)
    try:
        create(temporary)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path)
    try:
        journal.note_change(path, old, now)
        if old is not None and stat.S_ISDIR(old.st_mode):
            os.rmdir(path)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path) or ".")
