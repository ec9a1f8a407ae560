"""authorized_key: keys that may log in as a user."""

import io
import os
import pwd

from .. import accounts, authorized_keys, download, files
from ..context import ModuleError

SPEC = {
    "user": {"type": "str", "required": True},
    "key": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path"},
    "manage_dir": {"type": "bool", "default": True},
    "key_options": {"type": "str"},
    "comment": {"type": "str"},
    "exclusive": {"type": "bool", "default": False},
    "follow": {"type": "bool", "default": False},
    "validate_certs": {"type": "bool", "default": True},
}
EXAMPLE = {
    "user": "root",
    "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqnQ0u3gOVdTQDDkdZNyI0ATVIuzlhpx2vyKZcPnMSG lab@controller",
}
TIMEOUT = 30  # seconds for a server that has keys
FOLDER_MODE, FILE_MODE = 0o700, 0o600  # sshd refuses keys that others could write


def inspect(ctx, args):
    """The file of keys as it is, and as it should be."""
    user = _user(args["user"])
    path = _path(args, user)
    wanted = _wanted(ctx, args)
    old = files.read(path).decode("utf-8", "surrogateescape") if files.exists(path) else ""
    lines = [(line, authorized_keys.parse(line)) for line in old.splitlines(True)]
    if args["state"] == "absent":
        gone = {key.data for key in wanted}
        new = [line for line, key in lines if key is None or key.data not in gone]
    else:
        new = _with_keys(lines, wanted, args["exclusive"])
    text = "".join(new)
    return {"content": old}, {"content": text, "_path": path, "_user": user}


def _with_keys(lines, wanted, exclusive):
    """The lines with every wanted key once, new ones last; with `exclusive` nothing else."""
    missing = {key.data: key for key in wanted}
    kept = []
    for line, key in lines:
        if key is None or all(key.data != one.data for one in wanted):
            if not exclusive:
                kept.append(line)
        elif key.data in missing and authorized_keys.same(key, missing[key.data]):
            kept.append(line)
            del missing[key.data]
    if missing and kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    new = [authorized_keys.text_of(missing.pop(key.data)) for key in wanted if key.data in missing]
    return kept + new


def apply(ctx, args, before, after):
    """Write the file for its user; its folder, too, when it is ours to manage."""
    path, user = after["_path"], after["_user"]
    uid, gid = [-1 if number is None else number for number in (user.uid, user.gid)]
    folder = os.path.dirname(path)
    made = files.make_directories(folder, FOLDER_MODE if args["manage_dir"] else None)
    if args["manage_dir"]:
        for one in made or [folder]:
            files.set_attributes(one, FOLDER_MODE, uid, gid)
    files.write_bytes(path, after["content"].encode("utf-8", "surrogateescape"), FILE_MODE, uid, gid)
    return {}


predict = apply


def result(ctx, args, after):
    """Ansible's return values."""
    names = ("user", "key", "state", "path", "key_options", "comment", "exclusive", "manage_dir", "follow")
    return dict({name: args[name] for name in names}, keyfile=after["_path"])


def _user(name):
    known = accounts.users().get(name)
    if known is not None:
        return known
    try:
        found = pwd.getpwnam(name)  # one of a directory service
    except KeyError:
        if files.unsure():
            return accounts.User(name, None, None, "", "/home/" + name, "")
        raise ModuleError("there is no user %r on this board" % name)
    return accounts.User(name, found.pw_uid, found.pw_gid, found.pw_gecos, found.pw_dir, found.pw_shell)


def _path(args, user):
    if args["path"] is not None:
        path = args["path"]
    else:
        path = os.path.join(user.home or "/home/" + user.name, ".ssh", "authorized_keys")
    return files.real_path(path) if args["follow"] else path


def _wanted(ctx, args):
    """The keys that the task speaks of."""
    text = args["key"]
    if download.is_url(text):
        text = _downloaded(ctx, args)
    keys = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key = authorized_keys.parse(line)
        if key is None:
            raise ModuleError("this is no public key: %s" % line[:80])
        if args["key_options"] is not None:
            key = key._replace(options=authorized_keys.split_options(args["key_options"]))
        if args["comment"] is not None:
            key = key._replace(comment=args["comment"])
        if all(key.data != one.data for one in keys):
            keys.append(key)
    return keys


def _downloaded(ctx, args):
    request = {"url": args["key"], "timeout": TIMEOUT, "validate_certs": args["validate_certs"], "headers": None}
    request.update(url_username=None, url_password=None, force_basic_auth=False, http_agent="ansible-httpget")
    target = io.BytesIO()
    download.fetch(request, target, None, ctx.progress)
    return target.getvalue().decode("utf-8", "replace")
