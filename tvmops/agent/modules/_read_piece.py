"""_read_piece: a part of a file, for the controller's fetch."""

import base64
import errno
import os
import stat

from ..context import ModuleError
from ..files import hashes

SPEC = {
    "path": {"type": "path", "required": True},
    "offset": {"type": "int", "default": 0},
    "size": {"type": "int", "default": 1024 * 1024},
    "sha256": {"type": "bool", "default": False},
}
CHECK = "run"


def act(ctx, args):
    """Up to `size` bytes from `offset` on, as base64; `last` when nothing follows them. Links are followed.

    `state` is file, directory, other or absent; only a file has content. With `sha256` the digest of the whole file.
    """
    path = os.path.expanduser(args["path"])
    if args["offset"] < 0 or args["size"] < 1:
        raise ModuleError("offset must not be negative, and size must be positive")
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return {"state": "absent", "path": path}
        raise
    state = "directory" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else "other"
    outcome = {"state": state, "path": path, "size": status.st_size, "mtime": status.st_mtime}
    outcome.update(mode="%04o" % stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid)
    if state != "file":
        return outcome
    with open(path, "rb") as source:
        source.seek(args["offset"])
        piece = source.read(args["size"])
        # A file of /proc has the size 0 and content all the same, so only reading on tells whether this was all.
        outcome["last"] = len(piece) < args["size"] or not source.read(1)
    outcome["content"] = base64.b64encode(piece).decode("ascii")
    if args["sha256"]:
        outcome["sha256"] = hashes(path, "sha256")[0]
    return outcome
