"""unarchive: unpack a tar or zip archive on the board."""

import os
import shutil
import stat

from .. import archives, attributes, download, files, specs
from ..archives import Archive, selected
from ..context import ModuleError
from ..files import CHUNK, kind, make_directories, replacing, sync_directory
from ..lease import state_directory

SPEC = dict(
    attributes.SPEC,
    src={"type": "path", "required": True},
    dest={"type": "path", "required": True},
    remote_src={"type": "bool", "default": False},
    creates={"type": "path"},
    list_files={"type": "bool", "default": False},
    exclude={"type": "list", "elements": "str", "default": []},
    include={"type": "list", "elements": "str", "default": []},
    keep_newer={"type": "bool", "default": False},
)
RULES = {"mutually_exclusive": [["include", "exclude"]]}
EXAMPLE = {"src": "runtime.tar.gz", "dest": "/opt/tvmops/releases", "creates": "/opt/tvmops/releases/lib"}
ROOT_ONLY = ("owner", "group")


def inspect(ctx, args):
    """The members that differ from what lies in `dest`, as they are and as the archive has them."""
    dest = args["dest"]
    if args["creates"] is not None and files.matching(args["creates"]):
        return {}, {"_members": None, "_skipped": "skipped, since %s exists" % args["creates"]}
    if not files.is_directory(dest) and not files.unsure():
        raise ModuleError("dest %s must be an existing directory" % dest, dest=dest)
    handler, found = _listed(ctx, args)
    members = selected(found, args["include"], args["exclude"])
    before, after, todo = {}, {}, []
    for member in members:
        now, then = _compare(ctx, args, member, os.path.join(dest, member.path))
        if member.kind == "hard" and member.link in after:
            now = {"kind": "absent"}  # what it is linked to will be replaced, so the link must be made anew
        if now != then:
            before[member.path], after[member.path] = _text(now), _text(then)
            todo.append((member, then))
    after.update(_members=members, _todo=todo, _handler=handler)
    return before, after


def _listed(ctx, args):
    """("tar" or "zip", members) of the archive; one that was unpacked before is known without its content."""
    sha256 = args["_blob"]["sha256"] if args.get("_blob") is not None else None
    folder = os.path.join(state_directory(), "archives")
    known = archives.recall(folder, sha256) if sha256 is not None else None
    if known is not None:
        return known
    with Archive(_archive_path(ctx, args)) as archive:
        members = archive.members()
        if sha256 is not None and not ctx.check:
            archives.remember(folder, sha256, archive.kind, members)
        return archive.kind, members


def is_unpacked(args):
    """True when the board has all of an archive of the controller's that it knows, so that it need not be sent."""
    from ..context import Context

    clean, problems = specs.validate("unarchive", args)
    if problems or archives.recall(os.path.join(state_directory(), "archives"), args["_blob"]["sha256"]) is None:
        return False
    try:
        return not inspect(Context(), clean)[1].get("_todo")
    except (ModuleError, OSError):
        return False


def apply(ctx, args, before, after):
    """Unpack the members that differ; each file is put in place in one step."""
    dest = args["dest"]
    todo = after["_todo"]
    made = set()
    path_of_archive = _archive_path(ctx, args)
    with Archive(path_of_archive) as archive:
        fresh = {member.path: member for member in archive.members()}
        for count, (member, wanted) in enumerate(todo, 1):
            ctx.progress("%d of %d: %s" % (count, len(todo), member.path))
            path = os.path.join(dest, member.path)
            make_directories(os.path.dirname(path))
            if ctx.check and member.kind == "file":
                content = ("member", path_of_archive, member.size, member.path)
                files.predict_file(path, content, *attributes.numbers(wanted), mtime_ns=member.mtime * 10**9)
            else:
                _unpack_one(archive, fresh[member.path], path, dest, wanted)
            made.add(os.path.dirname(path))
    # Directories last and deepest first: unpacking into one changes its time, or may not be allowed by its mode.
    directories = [(member, wanted) for member, wanted in todo if member.kind == "directory"]
    for member, wanted in sorted(directories, key=lambda pair: pair[0].path, reverse=True):
        attributes.apply(os.path.join(dest, member.path), wanted)
    for directory in made:
        sync_directory(directory)
    return {}


predict = apply


def result(ctx, args, after):
    """Ansible's return values."""
    values = {"dest": args["dest"], "src": args["src"]}
    if after["_members"] is None:
        return dict(values, msg=after["_skipped"], skipped=True)
    values["handler"] = "ZipArchive" if after["_handler"] == "zip" else "TarArchive"
    if args["list_files"]:
        values["files"] = [one.path + ("/" if one.kind == "directory" else "") for one in after["_members"]]
    if files.is_directory(args["dest"]):
        values.update(attributes.report(files.real_path(args["dest"])))
    return values


def _archive_path(ctx, args):
    blob = args.get("_blob")
    if blob is not None:
        return ctx.blob(blob["sha256"])
    src = args["src"]
    if not args["remote_src"]:
        raise ModuleError("the controller did not send the content of %s" % src)
    if download.is_url(src):
        raise ModuleError("src %s is a URL: download it with get_url first" % src)
    if not files.is_file(src):
        raise ModuleError("src %s is not a file on the board" % src, src=src)
    return files.local_copy(src)


def _compare(ctx, args, member, path):
    """(what is, what should be) of one member, in the same form."""
    then = {"kind": member.kind}
    if member.kind in ("link", "hard"):
        then["link"] = member.link
    elif member.kind == "file":
        then["size"], then["mtime"] = member.size, member.mtime
    if member.kind in ("file", "directory"):
        then["mode"] = "%04o" % _mode(args, member)
    if member.kind != "hard":
        then.update(_owners(ctx, args, member))
    return _observed(args, member, path, then), then


def _mode(args, member):
    """The archive's mode, changed as asked; only root restores setuid, setgid and sticky bits, as with tar."""
    mode = member.mode if os.geteuid() == 0 else member.mode & 0o777
    if args["mode"] is None:
        return mode
    return attributes.parse_mode(args["mode"], mode, member.kind == "directory")


def _owners(ctx, args, member):
    """Owner and group that are asked for; root restores those of the archive, as tar does."""
    asked = dict(args, mode=None)
    if os.geteuid() == 0:
        for key in ROOT_ONLY:
            if asked[key] is None:
                asked[key] = _known(key, getattr(member, key), member)
    return attributes.wanted(ctx, asked, "/")


def _known(key, name, member):
    """A name of the archive's if the board has it, else the archive's number, as tar does."""
    if name is None:
        return None
    to_id = attributes.user_id if key == "owner" else attributes.group_id
    try:
        to_id(name)
        return name
    except ModuleError:
        return str(member.uid if key == "owner" else member.gid)


def _observed(args, member, path, then):
    at = kind(path)
    if at == "absent":
        return {"kind": "absent"}
    if member.kind == "hard":
        other = os.path.join(args["dest"], member.link)
        same = at == "file" and files.exists(other) and files.same_file(path, other)
        return dict(then) if same else {"kind": at}
    if member.kind == "directory" and at == "link" and files.is_directory(path):
        return dict(then)  # a link to a directory serves as the directory, as for tar
    now = {"kind": at}
    if at != member.kind:
        return now
    status = files.need_status(path, follow=False)
    if at == "link":
        now["link"] = files.read_link(path)
    if at == "file":
        now["size"], now["mtime"] = status.st_size, int(status.st_mtime)
        if args["keep_newer"] and now["mtime"] > then["mtime"]:
            return dict(then)
    if "mode" in then:
        now["mode"] = "%04o" % stat.S_IMODE(status.st_mode)
    names = {"owner": attributes.user_name(status.st_uid), "group": attributes.group_name(status.st_gid)}
    now.update((key, names[key]) for key in ROOT_ONLY if key in then)
    return now


def _unpack_one(archive, member, path, dest, wanted):
    at = kind(path)
    if at == "directory" and member.kind != "directory":
        raise ModuleError("%s is a directory, but a %s in the archive" % (path, member.kind), path=path)
    if member.kind == "directory":
        if at not in ("absent", "directory"):
            raise ModuleError("%s is a %s, but a directory in the archive" % (path, at), path=path)
        make_directories(path)
    elif member.kind == "file":
        mode, uid, gid = attributes.numbers(wanted)
        with archive.open(member) as source, replacing(path, mode, uid, gid, member.mtime * 10**9) as target:
            shutil.copyfileobj(source, target, CHUNK)
    elif member.kind == "link":
        files.make_link(member.link, path)
        attributes.apply(path, wanted, follow=False)
    else:
        files.make_hard_link(os.path.join(dest, member.link), path)


def _text(state):
    return " ".join("%s=%s" % (key, state[key]) for key in sorted(state))
