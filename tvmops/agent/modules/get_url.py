"""get_url: download a file onto the board."""

import os
import time

from .. import attributes, download, files
from ..context import ModuleError
from ..files import backup, hashes, kind, replacing

SPEC = dict(
    attributes.SPEC,
    url={"type": "str", "required": True},
    dest={"type": "path", "required": True},
    checksum={"type": "str", "default": ""},
    force={"type": "bool", "default": False},
    backup={"type": "bool", "default": False},
    timeout={"type": "float", "default": 10},
    headers={"type": "dict"},
    url_username={"type": "str", "aliases": ["username"]},
    url_password={"type": "str", "aliases": ["password"]},
    force_basic_auth={"type": "bool", "default": False},
    http_agent={"type": "str", "default": "ansible-httpget"},
    validate_certs={"type": "bool", "default": True},
)
RULES = {"required_together": [["url_username", "url_password"]]}
CHECK = "run"
PREDICTS = True
EXAMPLE = {"url": "file:///etc/os-release", "dest": "/var/tmp/os-release", "mode": "0644"}


def act(ctx, args):
    """Download unless the file is already there, right or unchanged; then set the attributes."""
    started = time.monotonic()
    algorithm, wanted = _checksum(args["checksum"])
    dest = _destination(args)
    values = {"url": args["url"], "dest": dest, "changed": False}
    parent = os.path.dirname(dest) or "."
    if not files.is_directory(parent) and not files.unsure():
        raise ModuleError("the directory %s does not exist" % parent, **values)
    exists = files.is_file(dest)
    if exists and wanted is not None:
        if hashes(dest, algorithm)[0] == wanted:
            return _finish(ctx, args, dest, dict(values, msg="file already exists"))
    elif exists and not args["force"] and not _is_directory_form(args):
        return _finish(ctx, args, dest, dict(values, msg="file already exists"))
    since = int(files.need_status(dest).st_mtime) if exists and wanted is None and not args["force"] else None
    if ctx.check:
        if exists and wanted is None and _is_the_same(args, dest, since, ctx.progress):
            return _finish(ctx, args, dest, dict(values, msg="not modified"))
        return _predict(ctx, args, dest, dict(values, changed=True, msg="would be downloaded"))
    values.update(_fetch(ctx, args, dest, since, (algorithm, wanted)))
    values["elapsed"] = int(time.monotonic() - started)
    return _finish(ctx, args, dest, values)


def _fetch(ctx, args, dest, since, checksum):
    """Download beside `dest`, check, and put it in place if it differs."""
    algorithm, wanted = checksum
    target_path = files.real_path(dest)
    values = {}
    try:
        with replacing(target_path, *_numbers(ctx, args, target_path)) as target:
            try:
                values.update(download.fetch(args, target, since, ctx.progress))
            except download.NotModified:
                raise _Unchanged
            target.flush()
            found = hashes(target.name, algorithm or "sha1")[0]
            if wanted is not None and found != wanted:
                msg = "the file from %s has the checksum %s:%s, not %s" % (args["url"], algorithm, found, wanted)
                raise ModuleError(msg, url=args["url"], dest=dest)
            if kind(target_path) == "file":
                if hashes(target_path, "sha1") == hashes(target.name, "sha1"):
                    raise _Unchanged
                if args["backup"]:
                    values["backup_file"] = backup(target_path)
    except _Unchanged:
        return dict(values, msg="not modified")
    return dict(values, changed=True)


def _is_the_same(args, dest, since, progress):
    """True when the server has what is there already; it is read as far as it is the same, and kept nowhere."""
    with files.open_file(dest) as present:
        try:
            download.fetch(args, _Comparison(present), since, progress)
        except download.NotModified:
            return True
        except _Different:
            return False
        return not present.read(1)


class _Different(Exception):
    """Ends a download that is not what is there."""


class _Comparison:
    """A file to download into that compares with another one instead."""

    def __init__(self, present):
        self._present = present

    def write(self, data):
        if self._present.read(len(data)) != bytes(data):
            raise _Different


class _Unchanged(Exception):
    """Leaves the block that would replace the file."""


def _numbers(ctx, args, path):
    return attributes.numbers(attributes.wanted(ctx, args, path))


def _finish(ctx, args, dest, values):
    """Set the attributes and add what is known of the file."""
    if files.exists(dest):
        now, then = attributes.observed(args, dest), attributes.wanted(ctx, args, dest)
        if now != then:
            values["changed"] = True
            attributes.apply(dest, then)
        values.update(attributes.report(files.real_path(dest)), checksum_dest=hashes(dest, "sha1")[0])
    return values


def _predict(ctx, args, dest, values):
    content = ("unknown", "it would come from %s" % download.public(args["url"]))
    target = files.real_path(dest)
    files.predict_file(target, content, *_numbers(ctx, args, target))
    return values


def _checksum(text):
    """'sha256:abc...' -> (algorithm, digest); ('', None) stands for none."""
    if not text:
        return None, None
    algorithm, colon, digest = text.partition(":")
    digest = digest.strip().lower()
    if colon and ("//" in digest or digest.startswith("file:")):
        raise ModuleError("a checksum from a URL is not supported: give '%s:' and the digest itself" % algorithm)
    lengths = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
    if algorithm not in lengths or len(digest) != lengths[algorithm] or set(digest) - set("0123456789abcdef"):
        raise ModuleError("checksum %r is not 'sha256:' (or md5, sha1, sha512) and a hexadecimal digest" % text)
    return algorithm, digest


def _is_directory_form(args):
    return args["dest"].endswith("/") or files.is_directory(args["dest"])


def _destination(args):
    if not _is_directory_form(args):
        return args["dest"]
    name = os.path.basename(args["url"].split("?")[0].split("#")[0].rstrip("/"))
    if not name:
        raise ModuleError("%s is a directory and the URL names no file: give the file's own path" % args["dest"])
    return os.path.join(args["dest"], name)
