"""A run's journal: what every changed path was before, noted before it is changed, so that the run can be undone.

A journal is a folder of the run's: `index` has a line per change, in order ("CRC32 JSON"; a torn last line is
ignored), `kept-UID/` the old contents: the old inode itself under a second name where that is possible, else a copy.
A change that destroys something waits until its line is on the disk; the lines of what only adds something reach it
within a moment, and before the batch is reported as ended. agent/files.py does all this; modules note only what is
no file, with `note_other`.
"""

import errno
import json
import os
import stat
import time
import zlib

LIMIT = 64 * 1024 * 1024  # bytes: the largest old file that is copied, the largest removed tree that is kept
MOMENT = 0.25  # seconds that lines about additions may wait for others
SPARE = 64 * 1024 * 1024  # bytes that must stay free on the disk
ABSENT = {"kind": "absent"}

_current = {"active": None}  # of the running task


def active():
    """The Journal of the running task; None in check mode and in runs without a name."""
    return _current["active"]


def use(journal):
    """Note changes in this Journal from now on; None: in none."""
    _current["active"] = journal


def state_of(path, status=None):
    """What is at a path, as the journal says it: {"kind", "mode", "uid", "gid", "size", "mtime", "target"}."""
    if status is None:
        try:
            status = os.lstat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return {"kind": "absent"}
            raise
    state = {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
    if stat.S_ISLNK(status.st_mode):
        state.update(kind="link", target=os.readlink(path))
    elif stat.S_ISDIR(status.st_mode):
        state["kind"] = "directory"
    elif stat.S_ISREG(status.st_mode):
        state.update(kind="file", size=status.st_size, mtime=status.st_mtime_ns)
        if status.st_nlink > 1:
            state["links"] = status.st_nlink
    else:
        state["kind"] = "other"
    return state


def note_change(path, old, now):
    """The running task is about to change a path with the status `old` (None: nothing there) to the state `now`."""
    notes = active()
    if notes is None:
        return
    was = ABSENT if old is None else state_of(path, old)
    if was["kind"] == "file":
        was.update(notes.keep_file(path, old))
    notes.note(path, was, now)


def note_attributes(path, old, wanted, follow):
    """The running task is about to give a path (mode or None, uid or -1, gid or -1)."""
    notes = active()
    if notes is None:
        return
    was = state_of(path, old)
    mode, uid, gid = wanted
    mode = was["mode"] if mode is None else mode
    now = dict(was, mode=mode, uid=was["uid"] if uid == -1 else uid, gid=was["gid"] if gid == -1 else gid)
    notes.note(os.path.realpath(path) if follow else path, was, now, "attributes")


class Journal:
    """What one run changes. Its folder is made with the first change.

    `about` says whose run it is: {"run", "owner", "what"}. `problem` is why changes can no longer be noted, or "".
    """

    def __init__(self, folder, about):
        self.folder = folder
        self.about = about
        self.task = None  # the running task's id, for the lines
        self.problem = ""
        self._index = None
        self._kept = None
        self._unsynced = None  # since when there are lines that may not be on the disk, time.monotonic()
        self._count = 0
        self._fresh = []  # descriptors of the folders that are not on the disk yet

    def note(self, path, was, now, how="content"):
        """A path is about to change. how: content, attributes or times: what is to be undone."""
        gains = was["kind"] == "absent"
        self._write({"path": os.path.abspath(path), "how": how, "was": was, "now": now}, sync=not gains)

    def note_other(self, kind, **details):
        """Something that is no file was changed: packages, a command, a service, a user. For the one who restores."""
        self._write(dict(details, other=kind), sync=False)

    def keep_file(self, path, status):
        """Keep a regular file's content -> what to add to its state: {"kept": name} or {"lost": why}."""
        try:
            self._open()
            name = self._name()
            if not self._linked(path, status, name):
                if status.st_size > LIMIT:
                    return {"lost": "too large to keep (%d bytes)" % status.st_size}
                if not self._has_room(status.st_size):
                    return {"lost": "the disk is nearly full"}
                self._copy(path, name)
            return {"kept": self._kept_name + "/" + name}
        except OSError as error:
            return {"lost": "it could not be kept: %s" % error.strerror}

    def place_for_tree(self, path):
        """Where a directory about to be removed can be moved to -> (directory's descriptor, name, note), or None."""
        try:
            self._open()
            if os.fstat(self._kept).st_dev != os.lstat(path).st_dev:
                return None
            name = self._name()
            return self._kept, name, {"kept": self._kept_name + "/" + name}
        except OSError:
            return None

    def place_for_copy(self):
        """Where a removed directory can be copied to -> (path, note), or None."""
        try:
            self._open()
            if not self._has_room(LIMIT):
                return None
            name = self._name()
            return "/proc/self/fd/%d/%s" % (self._kept, name), {"kept": self._kept_name + "/" + name}
        except OSError:
            return None

    def lend(self, uid):
        """Open all that a child process needs which is about to become this user."""
        try:
            self._open()
            name = "kept-%d" % uid
            try:
                os.mkdir(os.path.join(self.folder, name), 0o700)
                os.chown(os.path.join(self.folder, name), uid, -1)
            except FileExistsError:
                pass
            lent = Journal(self.folder, self.about)
            lent.task, lent._kept_name = self.task, name
            lent._index, lent._fresh = os.dup(self._index), self._fresh
            lent._kept = os.open(os.path.join(self.folder, name), os.O_RDONLY | os.O_DIRECTORY)
            return lent
        except OSError as error:
            self._give_up(error)
            return None

    def sync(self, older=0.0):
        """Wait until all lines are on the disk, unless the oldest was written less than `older` seconds ago."""
        if self._unsynced is not None and time.monotonic() - self._unsynced >= older:
            self._unsynced = None
            try:
                os.fdatasync(self._index)
                self._sync_folders()
            except OSError as error:
                self._give_up(error)

    def close(self):
        """End the journal; a run that changed nothing leaves none."""
        if self._index is not None:
            self.sync()
            os.close(self._index)
            os.close(self._kept)
            self._index = self._kept = None
        try:
            with open(os.path.join(self.folder, "index"), "rb") as source:
                empty = len(source.readlines(4096)) < 2
        except (IOError, OSError):
            return
        if empty:
            import shutil

            shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self):
        if self._index is not None:
            return
        os.makedirs(self.folder, 0o700, exist_ok=True)
        self._kept_name = "kept-%d" % os.geteuid()
        kept = os.path.join(self.folder, self._kept_name)
        if not os.path.isdir(kept):
            os.mkdir(kept, 0o700)
        self._kept = os.open(kept, os.O_RDONLY | os.O_DIRECTORY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._index = os.open(os.path.join(self.folder, "index"), flags, 0o600)
        if os.fstat(self._index).st_size == 0:
            header = dict(self.about, format=1, started=time.time(), uid=os.geteuid())
            os.write(self._index, line_of(header))
            above = (self.folder, os.path.dirname(self.folder))
            self._fresh = [os.open(directory, os.O_RDONLY | os.O_DIRECTORY) for directory in above]

    def _sync_folders(self):
        for descriptor in self._fresh:
            os.fsync(descriptor)
            os.close(descriptor)
        self._fresh = []

    def _write(self, entry, sync):
        if self.problem:
            return
        entry["task"] = self.task
        try:
            self._open()
            line = line_of(entry)
            if os.write(self._index, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._unsynced is None:
                self._unsynced = time.monotonic()
            if sync:
                self.sync()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error):
        """The run goes on: on a full disk the task may be the one that makes room."""
        self.problem = self.problem or "what this run changes from here on cannot be undone: %s" % error.strerror

    def _name(self):
        self._count += 1
        return "%d-%d-%d" % (os.getpid(), int(time.monotonic() * 1e6), self._count)

    def _linked(self, path, status, name):
        if os.geteuid() not in (0, status.st_uid) or not self._has_room(0):
            return False
        try:
            os.link(path, name, dst_dir_fd=self._kept, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _has_room(self, size):
        free = os.fstatvfs(self._kept)
        return free.f_bavail * free.f_frsize >= SPARE + size

    def _copy(self, path, name):
        import shutil

        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(path, "rb") as source, os.fdopen(os.open(name, flags, 0o600, dir_fd=self._kept), "wb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
            target.flush()
            status = os.fstat(source.fileno())
            os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(target.fileno())
        os.fsync(self._kept)


def line_of(entry):
    """An entry as its line in the index."""
    data = json.dumps(entry, sort_keys=True).encode("ascii")
    return ("%08x " % (zlib.crc32(data) & 0xFFFFFFFF)).encode("ascii") + data + b"\n"


def read(path):
    """The entries of an index, the header first; what follows a line that is torn is left out. Raises OSError."""
    found = []
    with open(path, "rb") as source:
        for line in source:
            check, _, data = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or check != ("%08x" % (zlib.crc32(data) & 0xFFFFFFFF)).encode("ascii"):
                break
            found.append(json.loads(data.decode("ascii")))
    return found
