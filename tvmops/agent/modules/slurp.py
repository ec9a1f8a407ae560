"""slurp: a file's content, for later tasks."""

import base64

from .. import files
from ..context import ModuleError

SPEC = {"src": {"type": "path", "required": True, "aliases": ["path"]}}
CHECK = "run"
PREDICTS = True
EXAMPLE = {"src": "/etc/os-release"}


def act(ctx, args):
    """The content in base64, because it may be anything."""
    path = args["src"]
    if not files.exists(path):
        if files.unsure():
            raise files.Unknown("%s is not there, but an earlier task may make it" % path)
        raise ModuleError("there is no file %s on the board" % path)
    if files.is_directory(path):
        raise ModuleError("%s is a directory, and slurp reads a file" % path)
    content = base64.b64encode(files.read(path)).decode("ascii")
    return {"content": content, "encoding": "base64", "source": path}
