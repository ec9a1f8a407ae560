"""tempfile: a new, empty, private file or directory with a name nobody else has."""

import os
import tempfile

from .. import attributes
from ..context import ModuleError

SPEC = {
    "state": {"type": "str", "choices": ["directory", "file"], "default": "file"},
    "path": {"type": "path"},
    "prefix": {"type": "str", "default": "ansible."},
    "suffix": {"type": "str", "default": ""},
}
CHECK = "skip"
EXAMPLE = {"state": "directory", "suffix": ".build"}


def act(ctx, args):
    """Make it; the mode is 0600, or 0700 for a directory."""
    for key in ("prefix", "suffix"):
        if "/" in args[key]:
            raise ModuleError("%s %r is a part of a name: it cannot hold a /" % (key, args[key]))
    folder = args["path"] or tempfile.gettempdir()
    if not os.path.isdir(folder):
        raise ModuleError("the directory %s does not exist" % folder, path=folder)
    if args["state"] == "directory":
        path = tempfile.mkdtemp(args["suffix"], args["prefix"], folder)
    else:
        descriptor, path = tempfile.mkstemp(args["suffix"], args["prefix"], folder)
        os.close(descriptor)
    return dict(attributes.report(path), changed=True, path=path)
