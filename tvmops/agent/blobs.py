"""The board's blobs: files named by the sha256 of their content, asked from the controller only when needed."""

import base64
import hashlib
import os

from .context import ModuleError

PIECE_DEADLINE = 300.0  # seconds the controller may take for the next piece


def check_name(sha256):
    """Raise ModuleError unless this is the hexadecimal form of a sha256 (it becomes a file name)."""
    if not isinstance(sha256, str) or len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ModuleError("%r is not a sha256" % (sha256,))


class BlobStore:
    """Blobs in one directory. A file with its final name is complete and verified."""

    def __init__(self, directory, wire):
        self._directory = directory  # a function: the directory is made when it is first needed
        self._wire = wire
        self._inline = {}

    def offer(self, inline):
        """Remember small blobs that came with a batch ({sha256: base64}); they reach the disk only when used."""
        self._inline.update(inline)

    def path(self, sha256):
        """The file with this content. Raises ModuleError when the controller cannot give it, and OSError."""
        check_name(sha256)
        final = os.path.join(self._directory(), sha256)
        if os.path.exists(final):
            return final
        import tempfile

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
        return final

    def _fill(self, sha256, target):
        digest = hashlib.sha256()
        if sha256 in self._inline:
            data = base64.b64decode(self._inline[sha256])
            digest.update(data)
            target.write(data)
            return digest.hexdigest()
        self._wire.emit("need", sha256=sha256)
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
