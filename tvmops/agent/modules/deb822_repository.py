"""deb822_repository: a source of packages in apt's paragraph style, with its key."""

import hashlib
import io
import os
import urllib.parse

from .. import attributes, download, files
from ..context import ModuleError
from ..debian import deb822
from ..debian.faults import hide_credentials

FLAGS = (
    "allow_downgrade_to_insecure",
    "allow_insecure",
    "allow_weak",
    "by_hash",
    "check_date",
    "check_valid_until",
    "enabled",
    "pdiffs",
    "trusted",
)
LISTS = ("architectures", "components", "languages", "suites", "targets", "uris")
SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "types": {"type": "list", "elements": "str", "choices": ["deb", "deb-src"], "default": ["deb"]},
    "signed_by": {"type": "str"},
    "date_max_future": {"type": "int"},
    "inrelease_path": {"type": "str"},
    "mode": {"type": "mode", "default": "0644"},
}
SPEC.update((name, {"type": "bool"}) for name in FLAGS)
SPEC.update((name, {"type": "list", "elements": "str"}) for name in LISTS)
EXAMPLE = {
    "name": "example",
    "uris": "https://packages.example.org/debian",
    "suites": "bookworm",
    "components": ["main", "contrib"],
    "architectures": "arm64",
    "signed_by": "https://packages.example.org/key.asc",
}
NOT_FIELDS = ("state", "mode", "signed_by")
KEY_LIMIT = 16 * 1024 * 1024  # bytes
TIMEOUT = 30  # seconds of silence


def inspect(ctx, args):
    """The source's file and its key's, as they are and as they should be."""
    slug = deb822.slug(args["name"])
    if not slug:
        raise ModuleError("name %r holds no letter or digit for the name of a file" % args["name"])
    paths = {"source": os.path.join(deb822.FOLDER, slug + ".sources")}
    for ending in ("asc", "gpg"):
        paths[ending] = os.path.join(deb822.KEYRINGS, "%s.%s" % (slug, ending))
    if args["state"] == "absent":
        wanted, key_name = {}, next((paths[one] for one in ("asc", "gpg") if files.exists(paths[one])), None)
        text = None
    else:
        text, wanted, key_name = _wanted(ctx, args, paths)
    before, after = _states(ctx, args, paths, wanted)
    after.update(_paths=paths, _wanted=wanted, _key_name=key_name, _text=text)
    return before, after


def apply(ctx, args, before, after):
    """The key first, so that there is no moment at which the source has none."""
    for name in ("asc", "gpg", "source"):
        path, data = after["_paths"][name], after["_wanted"].get(name)
        if data is not None:
            mode = after.get("mode", "0644") if name == "source" else "0644"
            files.make_directories(os.path.dirname(path), 0o755)
            files.write_bytes(path, data, int(mode, 8))
        elif name == "source" or args["state"] == "absent":
            if files.exists(path):
                files.remove(path)
    return {}


predict = apply


def result(ctx, args, after):
    """Ansible's return values."""
    path = after["_paths"]["source"]
    text = after["_text"]
    values = attributes.report(path) if files.exists(path) else {}
    shown = None if text is None else hide_credentials(text)
    return dict(values, repo=shown, dest=path, key_filename=after["_key_name"])


def _wanted(ctx, args, paths):
    """(the source's text, {name: bytes of the files to have}, the path of the key's file or None)."""
    _check(args)
    fields = {name: args[name] for name in SPEC if name not in NOT_FIELDS}
    wanted, key_name, signed_by = {}, None, args["signed_by"]
    if signed_by is not None and urllib.parse.urlsplit(signed_by).scheme in download.SCHEMES:
        key = _fetched(ctx, signed_by)
        ending = "asc" if deb822.is_armored(key) else "gpg"
        wanted[ending], key_name = key, paths[ending]
        signed_by = key_name
    elif signed_by is not None and signed_by.startswith("/"):
        if not files.exists(signed_by) and not files.unsure():
            raise ModuleError("signed_by: there is no file %s on the board" % signed_by)
        key_name = signed_by
    fields["signed_by"] = signed_by
    text = deb822.paragraph(fields)
    wanted["source"] = text.encode("utf-8", "surrogateescape")
    return text, wanted, key_name


def _check(args):
    """Raise ModuleError for a source that would make every apt-get fail."""
    if not args["uris"] or not args["suites"]:
        raise ModuleError("deb822_repository needs uris and suites for a source that is to be present")
    paths = [suite for suite in args["suites"] if suite.endswith("/")]
    if paths and args["components"]:
        raise ModuleError("the suite %s is a path: there can be no components" % paths[0])
    if len(paths) < len(args["suites"]) and not args["components"]:
        raise ModuleError("components are missing: only suites that end with / have none")
    for value in [args["name"]] + args["uris"] + args["suites"] + (args["components"] or []):
        if "\n" in value:
            raise ModuleError("%r holds a line break" % value)


def _fetched(ctx, url):
    args = {"url": url, "timeout": TIMEOUT, "headers": None, "http_agent": "ansible-httpget", "validate_certs": True}
    target = io.BytesIO()
    download.fetch(dict(args, url_username=None, url_password=None), target, None, ctx.progress)
    key = target.getvalue()
    if not key or len(key) > KEY_LIMIT:
        raise ModuleError("signed_by: %s gives no key but %d bytes" % (download.public(url), len(key)))
    return key


def _states(ctx, args, paths, wanted):
    before, after = {}, {}
    for name, path in sorted(paths.items()):
        old, new = files.read(path) if files.exists(path) else None, wanted.get(name)
        if name == "source":
            before.update(content=_shown(old), sha256=_hash(old))
            after.update(content=_shown(new), sha256=_hash(new))
            attribute_args = {"mode": args["mode"]}
            if old is not None and new is not None:
                before.update(attributes.observed(attribute_args, path))
            if new is not None:
                after.update(attributes.wanted(ctx, attribute_args, path))
        elif new is not None or args["state"] == "absent":
            before[path], after[path] = _hash(old), _hash(new)
    return before, after


def _shown(data):
    return None if data is None else hide_credentials(data.decode("utf-8", "replace"))


def _hash(data):
    return None if data is None else "sha256:" + hashlib.sha256(data).hexdigest()
