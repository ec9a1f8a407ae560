"""slurp: a file's content, for later tasks."""

import base64

from ..context import ModuleError

SPEC = {"src": {"type": "path", "required": True, "aliases": ["path"]}}
CHECK = "run"
EXAMPLE = {"src": "/etc/os-release"}


def act(ctx, args):
    """The content in base64, because it may be anything."""
    path = args["src"]
    try:
        with open(path, "rb") as source:
            data = source.read()
    except FileNotFoundError:
        raise ModuleError("there is no file %s on the board" % path)
    except IsADirectoryError:
        raise ModuleError("%s is a directory, and slurp reads a file" % path)
    return {"content": base64.b64encode(data).decode("ascii"), "encoding": "base64", "source": path}
