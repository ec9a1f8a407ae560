"""tempfile: a new, empty, private file or directory with a name nobody else has."""

import os
import tempfile
import uuid

from .. import attributes, files
from ..context import ModuleError

SPEC = {
    "state": {"type": "str", "choices": ["directory", "file"], "default": "file"},
    "path": {"type": "path"},
    "prefix": {"type": "str", "default": "ansible."},
    "suffix": {"type": "str", "default": ""},
}
CHECK = "run"
PREDICTS = True  # later tasks of a check run see it under the name in the result; a real run gives another
EXAMPLE = {"state": "directory", "suffix": ".build"}


def act(ctx, args):
    """Make it; the mode is 0600, or 0700 for a directory."""
    for key in ("prefix", "suffix"):
        if "/" in args[key]:
            raise ModuleError("%s %r is a part of a name: it cannot hold a /" % (key, args[key]))
    folder = args["path"] or tempfile.gettempdir()
    if not files.is_directory(folder) and not files.unsure():
        raise ModuleError("the directory %s does not exist" % folder, path=folder)
    path = os.path.join(folder, args["prefix"] + uuid.uuid4().hex[:8] + args["suffix"])
    umask = os.umask(0o077)
    try:
        if args["state"] == "directory":
            files.make_directories(path, 0o700)
        else:
            files.write_bytes(path, b"", 0o600)
    finally:
        os.umask(umask)
    return dict(attributes.report(path), changed=True, path=path)
