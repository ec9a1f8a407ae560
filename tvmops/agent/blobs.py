"""The board's blobs: files named by the sha256 of their content, asked from the controller only when needed.

What a batch can need is fetched before it begins, so that it needs nobody afterwards. Left out is what the board has
already at the destination, and what a `creates` makes needless; should a task need it after all, it is asked for then.
"""

import base64
import hashlib
import os
import stat

from .context import ModuleError
from .looking import hashes

PIECE_DEADLINE = 300.0  # seconds the controller may take for the next piece
PLACED = ("copy", "template")  # modules that put the content at `dest` as it is


def is_name(sha256):
    """True for the hexadecimal form of a sha256 (it becomes a file name)."""
    return isinstance(sha256, str) and len(sha256) == 64 and not set(sha256) - set("0123456789abcdef")


class BlobStore:
    """Blobs in one directory. A file with its final name is complete and verified."""

    def __init__(self, directory, wire, made=False):
        self._directory = directory  # a function: the directory is made when it is first needed
        self._made = made
        self._wire = wire
        self._inline = {}
        self._problems = {}  # sha256 -> why it could not be had when it was asked for

    def offer(self, inline):
        """Remember small blobs that came with a batch ({sha256: base64}); they reach the disk only when used."""
        self._inline.update(inline)

    def prefetch(self, tasks):
        """Fetch all that the tasks can need; a problem with one is told to the task that needs it."""
        missing = []
        for task in tasks:
            for args in [task.get("args") or {}] + [item.get("args") or {} for item in task.get("loop") or ()]:
                sha256 = (args.get("_blob") or {}).get("sha256")
                if sha256 in missing or sha256 in self._inline or not is_name(sha256):
                    continue
                if not self._is_here(sha256) and not _is_needless(task.get("module"), args):
                    missing.append(sha256)
        for sha256 in missing:
            self._wire.emit("need", sha256=sha256)
        for sha256 in missing:
            try:
                self._store(sha256)
            except (ModuleError, OSError) as error:
                self._problems[sha256] = error

    def path(self, sha256):
        """The file with this content. Raises ModuleError when the controller cannot give it, and OSError."""
        if not is_name(sha256):
            raise ModuleError("%r is not a sha256" % (sha256,))
        problem = self._problems.pop(sha256, None)
        if isinstance(problem, ModuleError):
            raise problem
        if not self._is_here(sha256):
            if sha256 not in self._inline:
                if self._wire.gone:
                    raise ModuleError("the controller went away, and this content was not here yet (blob %s)" % sha256)
                self._wire.emit("need", sha256=sha256)
            self._store(sha256)
        return os.path.join(self._directory(), sha256)

    def _is_here(self, sha256):
        return self._made and os.path.exists(os.path.join(self._directory(), sha256))

    def _store(self, sha256):
        import tempfile

        self._made = True
        final = os.path.join(self._directory(), sha256)
        descriptor, partial = tempfile.mkstemp(prefix=".partial-", dir=os.path.dirname(final))
        try:
            with os.fdopen(descriptor, "wb") as target:
                found = self._fill(sha256, target)
            if found != sha256:
                raise ModuleError("the content sent for blob %s has the sha256 %s" % (sha256, found))
            os.rename(partial, final)
        except BaseException:
            os.unlink(partial)
            raise

    def _fill(self, sha256, target):
        digest = hashlib.sha256()
        if sha256 in self._inline:
            data = base64.b64decode(self._inline[sha256])
            digest.update(data)
            target.write(data)
            return digest.hexdigest()
        problem = None
        while True:
            piece = self._next_piece(sha256)
            if problem is None:
                data = base64.b64decode(piece.get("data") or "")
                digest.update(data)
                try:
                    target.write(data)
                except OSError as error:
                    problem = error  # the rest of the pieces must still be taken off the wire
            if piece.get("last", True):
                break
        if problem is not None:
            raise problem
        return digest.hexdigest()

    def _next_piece(self, sha256):
        while True:
            piece = self._wire.receive(wanted=("blob",), timeout=PIECE_DEADLINE)
            if piece is None:
                raise ModuleError("the controller went away before it had sent the content (blob %s)" % sha256)
            if piece.get("sha256") == sha256:
                if piece.get("error"):
                    raise ModuleError("the controller cannot send the content: %s" % piece["error"])
                return piece


def _is_needless(module, args):
    """True when the task would find that it does not need the content, as things are now."""
    if args.get("creates"):
        import glob

        return bool(glob.glob(os.path.expanduser(str(args["creates"]))))
    if str(module).rpartition(".")[2] == "unarchive":
        from .modules import unarchive

        return unarchive.is_unpacked(args)
    if "tree" in args["_blob"]:
        from . import folders

        return folders.is_copied(args)
    if str(module).rpartition(".")[2] not in PLACED or not args.get("dest"):
        return False
    dest = os.path.expanduser(str(args["dest"]))
    if dest.endswith("/") or os.path.isdir(dest):
        dest = os.path.join(dest, os.path.basename(str(args.get("src") or "")))
    try:
        status = os.stat(dest)
        if not stat.S_ISREG(status.st_mode):
            return False
        if str(args.get("force", True)).lower() in ("false", "no", "0", "off"):
            return True
        return status.st_size == args["_blob"].get("size") and hashes(dest, "sha256")[0] == args["_blob"]["sha256"]
    except OSError:
        return False
