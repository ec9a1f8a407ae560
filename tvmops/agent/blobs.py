"""The board's blobs: files named by the sha256 of their content, asked from the controller only when needed.

What a batch can need is fetched before it begins, so that it needs nobody afterwards. Left out is what the board has
already at the destination, and what a `creates` makes needless; should a task need it after all, it is asked for then.
A need says how much the board `have`s already: what has come of a large blob outlives the agent (transfers.py).
"""

import base64
import os
import stat

from .context import ModuleError
from .looking import hashes
from .transfers import KEEP_FROM, Transfer, remove_empty, remove_stale

PIECE_DEADLINE = 300.0  # seconds the controller may take for the next piece
PLACED = ("copy", "template")  # modules that put the content at `dest` as it is


def is_name(sha256):
    """True for the hexadecimal form of a sha256 (it becomes a file name)."""
    return isinstance(sha256, str) and len(sha256) == 64 and not set(sha256) - set("0123456789abcdef")


class BlobStore:
    """Blobs in one directory. A file with its final name is complete and verified.

    Large ones are received in the folder `transfers`, where what has come of them outlives a lost link.
    """

    def __init__(self, directory, wire, made=False, transfers=None):
        self._directory = directory  # a function: the directory is made when it is first needed
        self._made = made
        self._wire = wire
        self._transfers = transfers
        self._inline = {}
        self._problems = {}  # sha256 -> why it could not be had when it was asked for
        self._sizes = {}
        self._coming = {}  # sha256 -> its transfer, asked for
        self._kept = {}  # sha256 -> its transfer, whole and to be removed by release()
        self._had_large = False  # whether a batch had content that is worth keeping

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
                self._had_large = self._had_large or (args["_blob"].get("size") or 0) >= KEEP_FROM
                if not self._is_here(sha256) and not _is_needless(task.get("module"), args):
                    missing.append(sha256)
                    self._sizes[sha256] = args["_blob"].get("size") or 0
        worn = self._fetch(missing)  # whose first bytes, left by an earlier agent, were not theirs
        self._fetch(worn)

    def path(self, sha256):
        """The file with this content. Raises ModuleError when the controller cannot give it, and OSError."""
        if not is_name(sha256):
            raise ModuleError("%r is not a sha256" % (sha256,))
        problem = self._problems.pop(sha256, None)
        if isinstance(problem, ModuleError):
            raise problem
        if not self._is_here(sha256):
            if sha256 not in self._inline and self._wire.gone:
                raise ModuleError("the controller went away, and this content was not here yet (blob %s)" % sha256)
            while not (self._ask(sha256) or self._store(sha256)):
                pass
        if sha256 in self._kept:
            return self._kept[sha256].path
        return os.path.join(self._directory(), sha256)

    def release(self, used):
        """The agent ends: content that was `used` goes, other content waits for the next agent.

        Gone is then also what earlier agents left and this one was not asked to go on with.
        """
        for transfer in self._kept.values():
            transfer.give_up() if used else transfer.suspend()
        self._kept = {}
        if self._transfers is not None:
            if used and self._had_large:
                remove_stale(self._transfers, 0.0)
            remove_empty(self._transfers)

    def _fetch(self, wanted):
        """Ask for all, then receive all -> those that must be asked for again."""
        asked, again = [], []
        for sha256 in wanted:
            try:
                if not self._ask(sha256):
                    asked.append(sha256)
            except OSError as error:
                self._problems[sha256] = error
        for sha256 in asked:
            try:
                if not self._store(sha256):
                    again.append(sha256)
            except (ModuleError, OSError) as error:
                self._problems[sha256] = error
        return again

    def _is_here(self, sha256):
        return sha256 in self._kept or self._made and os.path.exists(os.path.join(self._directory(), sha256))

    def _ask(self, sha256):
        """Ask the controller for what is missing of the content -> whether there is nothing to ask for."""
        if sha256 in self._inline:
            return False
        have = 0
        if self._sizes.get(sha256, 0) >= KEEP_FROM and self._transfers is not None:
            transfer = self._coming.get(sha256) or self._begin(sha256)
            if transfer.complete:
                self._keep(transfer)
                return True
            have = transfer.have
        self._wire.emit("need", sha256=sha256, have=have)
        return False

    def _begin(self, sha256):
        if not self._coming:
            remove_stale(self._transfers)
        self._made = True
        transfer = self._coming[sha256] = Transfer(sha256, self._directory(), self._transfers)
        if transfer.have > self._sizes[sha256]:
            transfer.restart()
        return transfer

    def _store(self, sha256):
        """Receive the content -> False when it must be asked for again, from its beginning. Raises OSError."""
        self._made = True
        transfer = self._coming.pop(sha256, None) or Transfer(sha256, self._directory())
        resumed = transfer.have > 0
        try:
            self._fill(transfer)
        except ModuleError:
            transfer.suspend()
            raise
        except BaseException:
            transfer.give_up()
            raise
        if transfer.complete:
            self._keep(transfer)
            return True
        if resumed:
            transfer.restart()
            self._coming[sha256] = transfer
            return False
        transfer.give_up()
        raise ModuleError("the content sent for blob %s has the sha256 %s" % (sha256, transfer.found))

    def _keep(self, transfer):
        self._coming.pop(transfer.sha256, None)
        transfer.finish()
        if transfer.kept:
            self._kept[transfer.sha256] = transfer

    def _fill(self, transfer):
        sha256 = transfer.sha256
        if sha256 in self._inline:
            transfer.add(base64.b64decode(self._inline[sha256]))
            return
        problem = None
        while True:
            piece = self._next_piece(sha256)
            if problem is None:
                try:
                    transfer.add(piece["raw"] if "raw" in piece else base64.b64decode(piece.get("data") or ""))
                except OSError as error:
                    problem = error  # the rest of the pieces must still be taken off the wire
            if piece.get("last", True):
                break
        if problem is not None:
            raise problem

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
