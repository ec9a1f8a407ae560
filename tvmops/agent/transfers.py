"""Large content on its way to the board: what has come is kept when the link is lost, and the rest asked for later.

A file in the folder of transfers may be short, or worn by a power cut: it counts only once its sha256 is right.
"""

import fcntl
import hashlib
import os
import tempfile
import time

KEEP_FROM = 1024 * 1024  # bytes of content that is worth going on with
KEEP_SECONDS = 7 * 24 * 3600.0  # what was not gone on with for so long is removed
PIECE = 1024 * 1024


class Transfer:
    """One content that is being received. `have`: bytes that are here already, by an earlier agent."""

    def __init__(self, sha256, private, shared=None):
        """`private` and `shared` are folders: this agent's own, and that of content to keep, or None."""
        self.sha256 = sha256
        self.have = 0
        self.kept = False  # it outlives this agent until `finish`
        self.path = os.path.join(private, sha256)
        self._digest = hashlib.sha256()
        self._file = self._open_shared(shared) if shared is not None else None
        if self._file is None:
            descriptor, self._partial = tempfile.mkstemp(prefix=".partial-", dir=private)
            self._file = os.fdopen(descriptor, "wb")
            if shared is not None:
                self._take_over(os.path.join(shared, sha256))
        else:
            self.kept = True
            self.path = self._partial
            self._read_again()

    @property
    def found(self):
        """The sha256 of what is here."""
        return self._digest.hexdigest()

    @property
    def complete(self):
        """Whether all of it is here."""
        return self.found == self.sha256

    def restart(self):
        """Begin anew: what was here is not a part of it."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.have = 0

    def add(self, data):
        """The next bytes. Raises OSError."""
        self._digest.update(data)
        self._file.write(data)
        self._file.flush()  # another agent may have to go on with it

    def suspend(self):
        """No more comes: what is here is kept for another time, or removed where it cannot be."""
        try:
            self._file.close()
        except OSError:
            pass  # a full disk: what could not be written is asked for again
        try:
            if not self.kept or os.stat(self._partial).st_size == 0:
                os.unlink(self._partial)
        except FileNotFoundError:
            pass

    def give_up(self):
        """It is of no use any more, or there is no room for it."""
        self.kept = False
        self.suspend()

    def finish(self):
        """It is here as a whole, under `path`; content that is kept stays locked until it is given up."""
        if not self.kept:
            self._file.close()
            os.rename(self._partial, self.path)

    def _open_shared(self, folder):
        """The file of this content, locked; None when another agent has it, or there is no place for it."""
        self._partial = os.path.join(folder, self.sha256)
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            stream = os.fdopen(os.open(self._partial, flags, 0o600), "r+b")
        except OSError:
            return None
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(stream.fileno()).st_ino == os.stat(self._partial).st_ino:
                return stream
        except OSError:
            pass
        stream.close()
        return None

    def _take_over(self, path):
        """Begin with what another agent has got so far, which may have lost its controller without knowing it."""
        try:
            with open(path, "rb") as source:
                for piece in iter(lambda: source.read(PIECE), b""):
                    self.add(piece)
                    self.have += len(piece)
        except OSError:
            self.restart()

    def _read_again(self):
        for piece in iter(lambda: self._file.read(PIECE), b""):
            self._digest.update(piece)
            self.have += len(piece)


def remove_stale(folder, age=KEEP_SECONDS):
    """Remove what nobody has gone on with for `age` seconds, and no other agent is receiving."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            with open(os.path.join(folder, name), "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if abs(time.time() - os.fstat(stream.fileno()).st_mtime) >= age:
                    os.unlink(stream.name)
        except OSError:
            continue


def remove_empty(folder):
    """Remove the folder when there is nothing in it."""
    try:
        os.rmdir(folder)
    except OSError:
        pass
