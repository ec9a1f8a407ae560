"""file: directories, links, empty files, attributes, and removing things."""

import os
import time

from .. import attributes, files
from ..context import ModuleError
from ..files import default_mode, kind

SPEC = dict(
    attributes.SPEC,
    path={"type": "path", "required": True, "aliases": ["dest", "name"]},
    state={"type": "str", "choices": ["absent", "directory", "file", "hard", "link", "touch"]},
    src={"type": "path"},
    recurse={"type": "bool", "default": False},
    force={"type": "bool", "default": False},
    follow={"type": "bool", "default": True},
    modification_time={"type": "str", "choices": ["now", "preserve"]},
    access_time={"type": "str", "choices": ["now", "preserve"]},
)
RULES = {"required_if": [["state", "hard", ["src"]]]}
EXAMPLE = {"path": "/opt/tvmops/releases", "state": "directory", "mode": "0755"}


def VERIFY(args):  # noqa: N802  (the contract's name)
    """A touched file's time is never again the time of touching."""
    return args["state"] != "touch"


def inspect(ctx, args):
    """What is at the path, and what should be."""
    at = kind(args["path"])
    state = args["state"] or _default_state(args, at)
    if args["recurse"] and state != "directory":
        raise ModuleError("recurse needs state: directory", path=args["path"])
    before, after = STATES[state](ctx, args, at)
    after["_state"] = state
    return before, after


def apply(ctx, args, before, after):
    """Make, link, touch or remove, then set the attributes."""
    APPLY[after["_state"]](args, before, after)
    return {}


predict = apply


def result(ctx, args, after):
    """Ansible's return values."""
    path = args["path"]
    values = dict(attributes.report(path), path=path)
    if after["_state"] in ("file", "touch", "link", "hard"):
        values["dest"] = path
    if "src" in after:
        values["src"] = after["src"]
    return values


def _default_state(args, at):
    if args["recurse"]:
        return "directory"
    if at in ("absent", "other"):
        return "file"
    return at


def _want_file(ctx, args, at):
    path = args["path"]
    if at == "directory" or (at == "absent" and not files.unsure()):
        raise ModuleError("file (%s) is %s, cannot continue" % (path, at), path=path, state=at)
    before, after = {"state": at}, {"state": at}
    _add_attributes(ctx, args, before, after)
    return before, after


def _want_directory(ctx, args, at):
    path = args["path"]
    follows = args["follow"] and files.is_directory(path)
    if at not in ("absent", "directory") and not follows:
        raise ModuleError("%s already exists as a %s" % (path, at), path=path)
    before, after = {"state": at}, {"state": at if follows else "directory"}
    _add_attributes(ctx, args, before, after, directory=True)
    if args["recurse"] and at != "absent":
        _add_contents(ctx, args, before, after)
    return before, after


def _want_link(ctx, args, at):
    path, src = args["path"], args["src"]
    if src is None:
        if at != "link":
            raise ModuleError("src is required for creating new symlinks", path=path)
        src = files.read_link(path)
    if at not in ("absent", "link"):
        _check_replaceable(args, at, "symlink")
    target = os.path.join(os.path.dirname(path), src)
    if not args["force"] and not files.exists(target) and not (at == "link" and files.read_link(path) == src):
        if not files.unsure():
            msg = "src %s does not exist; use force: true if you really want to create the link" % target
            raise ModuleError(msg, path=path, src=src)
    before, after = {"state": at, "src": None}, {"state": "link", "src": src}
    if at == "link":
        before["src"] = files.read_link(path)
    _add_owner_of_link(ctx, args, target, before, after)
    return before, after


def _want_hard(ctx, args, at):
    path, src = args["path"], args["src"]
    if not files.is_file(src):
        if not files.unsure():
            raise ModuleError("src %s does not exist or is not a file" % src, path=path, src=src)
        return {"state": at}, {"state": "hard", "src": src}
    same = at != "absent" and files.exists(path) and files.same_file(path, src)
    if at in ("directory", "other") or (at == "file" and not same):
        _check_replaceable(args, at, "hard link")
    before = {"state": "hard" if same else at, "src": src if same else None}
    after = {"state": "hard", "src": src}
    _add_attributes(ctx, args, before, after)
    return before, after


def _want_touch(ctx, args, at):
    path = args["path"]
    before, after = {"state": at}, {"state": "file" if at == "absent" else at}
    for key in ("modification_time", "access_time"):
        if at == "absent" or args[key] != "preserve":
            before[key], after[key] = None, "now"
    _add_attributes(ctx, args, before, after)
    if at == "absent" and not files.is_directory(os.path.dirname(path) or ".") and not files.unsure():
        raise ModuleError("the directory %s does not exist" % os.path.dirname(path), path=path)
    return before, after


def _want_absent(ctx, args, at):
    return {"state": at}, {"state": "absent"}


def _check_replaceable(args, at, wanted):
    path = args["path"]
    if not args["force"]:
        raise ModuleError("refusing to convert from %s to %s for %s" % (at, wanted, path), path=path)
    if at == "directory" and files.names(path):
        raise ModuleError("the directory %s is not empty, refusing to convert it" % path, path=path)


def _add_attributes(ctx, args, before, after, directory=False):
    path = args["path"]
    follow = args["follow"]
    if files.exists(path) if follow else kind(path) != "absent":
        before.update(attributes.observed(args, path, follow))
    after.update(attributes.wanted(ctx, args, path, follow, directory))


def _add_owner_of_link(ctx, args, target, before, after):
    """Attributes of a link are those of what it leads to (follow) or of the link itself."""
    subject = target if args["follow"] else args["path"]
    if args["follow"] and not files.exists(target):
        return
    if args["follow"] or before["state"] == "link":
        before.update(attributes.observed(args, subject, args["follow"]))
    after.update(attributes.wanted(ctx, args, subject, args["follow"]))
    if not args["follow"]:
        after.pop("mode", None)


def _add_contents(ctx, args, before, after):
    """Everything below the directory whose attributes differ; links are never followed, only their owner is set."""
    found, asked = {}, {}
    for directory, names, others in files.walk(args["path"]):
        for name in sorted(names + others):
            path = os.path.join(directory, name)
            is_link = kind(path) == "link"
            now = attributes.observed(args, path, follow=False)
            then = attributes.wanted(ctx, args, path, follow=False)
            if is_link:
                now.pop("mode", None)
            if now != then:
                found[path], asked[path] = now, then
    before["_contents"], after["_contents"] = found, asked
    before["contents"], after["contents"] = _listing(found), _listing(asked)


def _listing(contents):
    return ["%s %s" % (path, " ".join(map(str, sorted(found.items())))) for path, found in sorted(contents.items())]


def _apply_attributes(args, before, after):
    attributes.apply(args["path"], after, follow=args["follow"])


def _make_directory(args, before, after):
    path = args["path"]
    for made in files.make_directories(path):
        # As Ansible: a directory that had to be made on the way gets the same attributes.
        asked = {key: after[key] for key in ("owner", "group") if key in after}
        if args["mode"] is not None:
            mode = attributes.parse_mode(args["mode"], default_mode(directory=True), directory=True)
            asked["mode"] = "%04o" % mode
        attributes.apply(made, asked)
    _apply_attributes(args, before, after)
    for inner, asked in after.get("_contents", {}).items():
        attributes.apply(inner, asked, follow=False)


def _make_link(args, before, after):
    path = args["path"]
    if before["state"] != "link" or before["src"] != after["src"]:
        files.make_link(after["src"], path)
    if args["follow"] and not files.exists(path):
        return
    attributes.apply(path, after, follow=args["follow"])


def _make_hard(args, before, after):
    if before["state"] != "hard":
        files.make_hard_link(args["src"], args["path"])
    _apply_attributes(args, before, after)


def _touch(args, before, after):
    path = args["path"]
    if before["state"] == "absent":
        files.write_bytes(path, b"")
    else:
        status, now = files.need_status(path), int(time.time() * 1e9)
        access = now if "access_time" in after else status.st_atime_ns
        change = now if "modification_time" in after else status.st_mtime_ns
        if access is now or change is now:
            files.set_times(path, access, change)
    _apply_attributes(args, before, after)


def _remove(args, before, after):
    files.remove(args["path"])


STATES = {
    "absent": _want_absent,
    "directory": _want_directory,
    "file": _want_file,
    "hard": _want_hard,
    "link": _want_link,
    "touch": _want_touch,
}
APPLY = {
    "absent": _remove,
    "directory": _make_directory,
    "file": _apply_attributes,
    "hard": _make_hard,
    "link": _make_link,
    "touch": _touch,
}
