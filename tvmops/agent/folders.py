"""copy of a whole folder: what the controller packed into one archive, compared and put in place file by file."""

import os

from . import attributes, files
from .context import ModuleError
from .files import CHUNK, kind


def inspect(ctx, args):
    """What of the folder differs on the board, as it is and as it should be."""
    tree, top = args["_blob"]["tree"], destination(args)
    if kind(top) not in ("absent", "directory") and not files.is_directory(top):
        raise ModuleError("%s is no directory, and the source is one" % top, dest=top)
    before, after, todo = {}, {}, []
    wanted = [("directory", {"path": ""})] if not tree["files"] + tree["directories"] + tree["links"] else []
    wanted += [("directory", {"path": path}) for path in tree["directories"]]
    wanted += [("file", one) for one in tree["files"]] + [("link", one) for one in tree["links"]]
    for what, entry in wanted:
        path = os.path.join(top, entry["path"]).rstrip("/")
        now, then = STATES[what](ctx, args, path, entry)
        if now != then:
            before[path], after[path] = _text(now), _text(then)
            todo.append((what, entry, path, now, then))
    after.update(_todo=todo, _dest=top)
    return before, after


def destination(args):
    """Where the folder's contents go: `dest`, or a folder of the source's name in it."""
    return os.path.join(args["dest"], args["_blob"]["tree"]["top"]).rstrip("/") or "/"


def is_copied(args):
    """True when all of the folder is on the board, so that its content need not be sent."""
    from .context import Context
    from .modules import copy
    from .specs import validate

    clean, problems = validate("copy", args)
    try:
        return not problems and not copy.inspect(Context(), clean)[1].get("_todo", True)
    except (ModuleError, OSError):
        return False


def apply(ctx, args, before, after):
    """Make directories and links, and put each file in place in one step."""
    packed = ctx.blob(args["_blob"]["sha256"]) if any(what == "file" for what, _, _, _, _ in after["_todo"]) else None
    if packed is None:
        _put(ctx, args, after["_todo"], None, None)
        return {}
    # Slow to load, and few copies are of folders. become.py loads it before it drops its rights.
    from .archives import Archive

    with Archive(packed) as archive:
        members = {one.path: one for one in archive.members()}
        _put(ctx, args, after["_todo"], packed, lambda path: archive.open(members[path]))
    return {}


def _put(ctx, args, todo, packed, opened):
    import shutil

    for what, entry, path, now, then in todo:
        ctx.progress(path)
        _make_directories(args, path if what == "directory" else os.path.dirname(path))
        if what == "link":
            files.make_link(entry["target"], path)
        elif what == "file" and now.get("sha256") != then.get("sha256"):
            mode, uid, gid = attributes.numbers(then)
            if ctx.check:
                content = ("member", packed, entry["size"], entry["path"])
                files.predict_file(path, content, mode, uid, gid)
                continue
            with opened(entry["path"]) as source, files.replacing(path, mode, uid, gid) as target:
                shutil.copyfileobj(source, target, CHUNK)
        attributes.apply(path, then, follow=what != "link")


def _make_directories(args, path):
    for made in files.make_directories(path):
        asked = {key: args[key] for key in ("owner", "group") if args[key] is not None}
        if args["directory_mode"] is not None:
            current = files.default_mode(directory=True)
            asked["mode"] = "%04o" % attributes.parse_mode(args["directory_mode"], current, directory=True)
        attributes.apply(made, asked)


def _directory(ctx, args, path, _):
    asked = dict(args, mode=args["directory_mode"])
    now = {"state": "directory" if files.is_directory(path) else kind(path)}
    if now["state"] == "directory":
        now.update(attributes.observed(asked, path))
    elif now["state"] != "absent":
        raise ModuleError("%s is a %s, but a directory in the source" % (path, now["state"]), path=path)
    return now, dict(attributes.wanted(ctx, asked, path, directory=True), state="directory")


def _file(ctx, args, path, entry):
    asked = dict(args, mode=entry["mode"]) if args.get("mode") == "preserve" else args
    at = kind(path)
    if at == "directory":
        raise ModuleError("%s is a directory, but a file in the source" % path, path=path)
    now, then = {"state": at, "sha256": None}, {"state": "file", "sha256": entry["sha256"]}
    if at != "absent" and files.exists(path):
        now.update(attributes.observed(asked, path))
    then.update(attributes.wanted(ctx, asked, path))
    if at != "absent" and not args["force"]:
        return now, dict(then, state=at, sha256=None)
    if at == "file" and files.need_status(path).st_size == entry["size"]:
        now["sha256"] = files.hashes(path, "sha256")[0]
    return now, then


def _link(ctx, args, path, entry):
    at = kind(path)
    if at == "directory":
        raise ModuleError("%s is a directory, but a link in the source" % path, path=path)
    now = {"state": at, "target": files.read_link(path) if at == "link" else None}
    return now, {"state": "link", "target": entry["target"]}


def _text(state):
    return " ".join("%s=%s" % (key, state[key]) for key in sorted(state) if state[key] is not None)


STATES = {"directory": _directory, "file": _file, "link": _link}
