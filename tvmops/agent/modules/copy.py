"""copy: put a file on the board."""

import json
import os
import shlex
import stat

from .. import attributes, diff, files, folders
from ..context import ModuleError
from ..files import CHUNK, backup, hashes, kind, make_directories, replacing

SPEC = dict(
    attributes.SPEC,
    dest={"type": "path", "required": True},
    src={"type": "path"},
    content={"type": "raw"},
    force={"type": "bool", "default": True},
    backup={"type": "bool", "default": False},
    follow={"type": "bool", "default": False},
    remote_src={"type": "bool", "default": False},
    validate={"type": "str"},
    mode={"type": "mode", "words": ("preserve",)},
    directory_mode={"type": "mode"},
    local_follow={"type": "bool", "default": True},
)
RULES = {"required_one_of": [["content", "src"]], "mutually_exclusive": [["content", "src"]]}
EXAMPLE = {"dest": "/etc/motd", "content": "This board is managed by tvmops.\n", "mode": "0644"}


def inspect(ctx, args):
    """The file as it is, and as it should be."""
    if is_folder(args):
        return folders.inspect(ctx, args)
    source = _Source(ctx, args)
    if args.get("mode") == "preserve":
        args = dict(args, mode=source.mode())
    dest = destination(args)
    at = kind(dest)
    if at == "directory":
        raise ModuleError("%s is a directory: give the file's own path in dest" % dest, dest=dest)
    parent = os.path.dirname(dest) or "."
    if not (files.is_directory(parent) or args["dest"].endswith("/") or files.unsure()):
        raise ModuleError("the directory %s does not exist" % parent, dest=dest)
    present = {"state": at}
    desired = {"state": "file", "_source": source, "_dest": dest}
    if at != "absent" and files.exists(dest):
        present.update(attributes.observed(args, dest))
    desired.update(attributes.wanted(ctx, args, dest))
    if at != "absent" and not args["force"]:
        desired["state"] = at
        return present, desired
    present["sha256"] = _sha256_if_size(dest, source.size) if at == "file" else None
    desired["sha256"] = source.sha256
    if ctx.diff and present["sha256"] != source.sha256:
        present["content"] = diff.file_content(dest) if at in ("file", "link") else None
        desired["content"] = source.for_diff()
    return present, desired


def apply(ctx, args, before, after):
    """Write the content if it differs, and set the attributes."""
    if is_folder(args):
        return folders.apply(ctx, args, before, after)
    dest, extra = after["_dest"], {}
    if before.get("sha256") == after.get("sha256") and before["state"] == after["state"]:
        attributes.apply(dest, after)
        return extra
    if args["backup"] and files.is_file(dest):
        extra["backup_file"] = backup(dest)
    if args["dest"].endswith("/"):
        make_directories(os.path.dirname(dest))
    mode, uid, gid, mtime_ns = _attributes(before, after)
    if ctx.check:
        files.predict_file(dest, after["_source"].predicted(), mode, uid, gid, mtime_ns)
        return extra
    with replacing(dest, mode, uid, gid, mtime_ns) as target:
        after["_source"].write_to(target)
        target.flush()
        check_validity(ctx, args["validate"], target.name)
    return extra


predict = apply


def _attributes(before, after):
    """Mode, owner, group and mtime of the new file.

    A file of the board that replaces another brings its mode, and is ours: so it is with Ansible's copy.
    """
    mode, uid, gid = attributes.numbers(after)
    status = after["_source"].status()
    if status is None:
        return mode, uid, gid, None
    if before["state"] != "absent":
        mode = stat.S_IMODE(status.st_mode) if mode is None else mode
        uid, gid = os.geteuid() if uid == -1 else uid, os.getegid() if gid == -1 else gid
    return mode, uid, gid, status.st_mtime_ns


def result(ctx, args, after):
    """Ansible's return values."""
    dest = after["_dest"]
    if is_folder(args):
        return {"dest": args["dest"], "src": args["src"]}
    values = dict(attributes.report(dest), dest=dest)
    if values["state"] in ("file", "hard"):
        values["state"] = "file"
        values["checksum"] = hashes(dest, "sha1")[0]
    return values


def is_folder(args):
    """True when the controller has sent a whole folder."""
    return "tree" in (args.get("_blob") or {})


def destination(args):
    """The path of the file to write: `dest`, or a file in it when it is a directory; links followed when asked."""
    dest = args["dest"]
    if dest.endswith("/") or files.is_directory(dest):
        if args.get("src") is None:
            raise ModuleError("%s is a directory: content needs the path of a file" % dest, dest=dest)
        dest = os.path.join(dest, os.path.basename(args["src"]))
    return files.real_path(dest) if args.get("follow") else dest


def check_validity(ctx, command, path):
    """Run the `validate` command on a file that is about to be put in place; it must end with 0. Not in check mode."""
    if command is None or ctx.check:
        return
    if "%s" not in command:
        raise ModuleError("validate needs %%s where the file's path goes: %s" % command)
    rc, stdout, stderr = ctx.run([word.replace("%s", path) for word in shlex.split(command)], timeout=60)
    if rc != 0:
        raise ModuleError("failed to validate: %s" % (stderr or stdout).strip(), rc=rc, stdout=stdout, stderr=stderr)


class _Source:
    """Where the content comes from: the task's text, a blob of the controller's, or a file on the board."""

    def __init__(self, ctx, args):
        self._ctx = ctx
        self._blob = args.get("_blob")
        self._path = None
        self._data = None
        if self._blob is not None:
            self.sha256, self.size = self._blob["sha256"], self._blob["size"]
        elif args.get("content") is not None:
            self._set_data(args["content"])
        elif args.get("remote_src"):
            self._set_path(args["src"])
        else:
            raise ModuleError("the controller did not send the content of %s" % args["src"])

    def mode(self):
        """The mode of a file on the board; the controller fills in those of its own files."""
        status = self.status()
        if status is None:
            raise ModuleError("mode: preserve needs a src")
        return "%04o" % stat.S_IMODE(status.st_mode)

    def status(self):
        """The status of a file on the board, None when the content comes from the controller."""
        return None if self._path is None else files.need_status(self._path)

    def for_diff(self):
        """The content to show, fetched only when it is short enough to be shown."""
        if self._data is not None:
            return self._data
        if self.size > diff.LIMIT:
            return "(%d bytes, too long to show)\n" % self.size
        return diff.file_content(self._local())

    def predicted(self):
        """The content as the overlay notes it, without fetching it."""
        if self._data is not None:
            return ("bytes", self._data)
        if self._blob is not None:
            return ("blob", self.sha256, self.size)
        return ("bytes", files.read(self._path)) if self.size <= diff.LIMIT else files.content_of(self._path)

    def write_to(self, target):
        """Write the content to a binary file."""
        if self._data is not None:
            target.write(self._data)
            return
        import shutil

        opened = files.open_file(self._path) if self._blob is None else open(self._local(), "rb")
        with opened as source:
            shutil.copyfileobj(source, target, CHUNK)

    def _local(self):
        return self._path if self._blob is None else self._ctx.blob(self.sha256)

    def _set_data(self, content):
        import hashlib

        if isinstance(content, (dict, list)):
            content = json.dumps(content)
        self._data = str(content).encode("utf-8", "surrogateescape")
        self.sha256, self.size = hashlib.sha256(self._data).hexdigest(), len(self._data)

    def _set_path(self, path):
        if not files.is_file(path):
            raise ModuleError("src %s is not a file on the board" % path, src=path)
        self._path, self.size = path, files.need_status(path).st_size
        self.sha256 = hashes(path, "sha256")[0]


def _sha256_if_size(path, size):
    """The hash of a file; None without reading it when its size tells that the content differs."""
    return hashes(path, "sha256")[0] if files.need_status(path).st_size == size else None
