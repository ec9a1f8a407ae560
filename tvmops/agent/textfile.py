"""A text file that a module edits: what it is, what it becomes, and putting the new text in its place."""

import os
import re

from . import attributes, files
from .context import ModuleError
from .modules.copy import check_validity

SPEC = dict(
    attributes.SPEC,
    path={"type": "path", "required": True, "aliases": ["dest", "destfile", "name"]},
    backup={"type": "bool", "default": False},
    validate={"type": "str"},
)


def read(path):
    """(the real path, the file's bytes; None when there is no file). Raises ModuleError and files.Unknown."""
    real = files.real_path(path)
    at = files.kind(real)
    if at == "directory":
        raise ModuleError("%s is a directory" % path, rc=256, path=path)
    return real, None if at == "absent" else files.read(real)


def missing(path, remedy):
    """The error for a file that must be there; in check mode nobody may be able to tell whether it would be."""
    if files.unsure():
        return files.Unknown("%s is not there, but an earlier task may make it" % path)
    return ModuleError("%s does not exist%s" % (path, remedy), rc=257, path=path)


def states(ctx, args, path, old, new):
    """A state module's before and after for a file whose bytes are `old` and become `new`; None is no file."""
    before = {"state": "absent" if old is None else "file", "content": old}
    after = {"state": "absent" if new is None else "file", "content": new, "_path": path, "_data": new}
    if old is not None:
        before.update(attributes.observed(args, path))
    if new is not None:
        after.update(attributes.wanted(ctx, args, path))
    return before, after


def apply(ctx, args, before, after):
    """Replace the file's text in one step, and set the attributes -> {"backup_file": its path} when asked for."""
    path, extra = after["_path"], {}
    if before["content"] == after["content"]:
        attributes.apply(path, after)
        return extra
    if args["backup"] and before["state"] == "file":
        extra["backup_file"] = files.backup(path)
    files.make_directories(os.path.dirname(path))
    mode, uid, gid = attributes.numbers(after)
    with files.replacing(path, mode, uid, gid) as target:
        target.write(after["_data"])
        target.flush()
        check_validity(ctx, args["validate"], target.name)
    return extra


def compiled(pattern, flags=0):
    """A regular expression (text or bytes). Raises ModuleError that shows where it is wrong."""
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        shown = pattern if isinstance(pattern, str) else pattern.decode("utf-8", "replace")
        raise ModuleError("%r is not a regular expression: %s" % (shown, error))
