"""user: make, change or remove a user."""

import os

from .. import accounts, files, overlay
from ..context import ModuleError

SPEC = {
    "name": {"type": "str", "required": True, "aliases": ["user"]},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "uid": {"type": "int"},
    "non_unique": {"type": "bool", "default": False},
    "group": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "append": {"type": "bool", "default": False},
    "shell": {"type": "path"},
    "home": {"type": "path"},
    "create_home": {"type": "bool", "default": True, "aliases": ["createhome"]},
    "move_home": {"type": "bool", "default": False},
    "skeleton": {"type": "path"},
    "system": {"type": "bool", "default": False},
    "comment": {"type": "str"},
    "password": {"type": "str"},
    "update_password": {"type": "str", "choices": ["always", "on_create"], "default": "always"},
    "remove": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
}
AS_GIVEN, ANOTHER = "as given", "another"  # what diffs say instead of a password's hash


def inspect(ctx, args):
    """The user as he is, and as he should be."""
    user = accounts.users().get(args["name"])
    before = {"state": "present" if user else "absent"}
    after = {"state": args["state"]}
    if args["state"] == "absent":
        return before, after
    groups = accounts.groups()
    for key, have in (("uid", "uid"), ("comment", "comment"), ("home", "home"), ("shell", "shell")):
        if args[key] is not None:
            before[key] = getattr(user, have) if user else None
            after[key] = args[key]
    if args["group"] is not None:
        before["group"] = _group_name(groups, user.gid) if user else None
        after["group"] = _known_group(ctx, groups, args["group"]).name
    if args["groups"] is not None:
        before["groups"], after["groups"] = _memberships(ctx, args, groups, user)
    _inspect_password(args, user, before, after)
    if args["create_home"]:
        home = args["home"] or (user.home if user else "/home/" + args["name"])
        before["home_exists"] = user is not None and files.is_directory(home)
        after["home_exists"] = True
    return before, after


def _inspect_password(args, user, before, after):
    if args["password"] is None or (user is not None and args["update_password"] != "always"):
        return
    after["password"] = AS_GIVEN
    before["password"] = None
    if user is not None:
        known = accounts.password_hash(args["name"])
        # A leading "!" locks the account; Ansible, too, looks only at the hash behind it.
        before["password"] = AS_GIVEN if known.lstrip("!") == args["password"].lstrip("!") else ANOTHER


def _memberships(ctx, args, groups, user):
    primary = args["group"] and _known_group(ctx, groups, args["group"]).name
    if primary is None and user is not None:
        primary = _group_name(groups, user.gid)
    wanted = {_known_group(ctx, groups, text.strip()).name for text in args["groups"] if text.strip()} - {primary}
    current = set()
    if user is not None:
        current = {group.name for group in groups.values() if user.name in group.members} - {primary}
    if args["append"]:
        return sorted(current), sorted(current | wanted)
    return sorted(current), sorted(wanted)


def _known_group(ctx, groups, text):
    """A group by name or number. Raises ModuleError when there is none; in check mode an earlier task may make it."""
    if text in groups:
        return groups[text]
    if text.isdigit():
        for group in groups.values():
            if group.gid == int(text):
                return group
    if overlay.unsure():
        return accounts.Group(text, None, [])
    raise ModuleError("there is no group %s on the board; the module group makes one" % text)


def _group_name(groups, gid):
    for group in groups.values():
        if group.gid == gid:
            return group.name
    return str(gid)


def apply(ctx, args, before, after):
    """Run useradd, usermod or userdel; the password goes through chpasswd's stdin, where ps cannot see it."""
    if after["state"] == "absent":
        flags = (["-r"] if args["remove"] else []) + (["-f"] if args["force"] else [])
        accounts.change(ctx, ["userdel"] + flags + [args["name"]])
        return _undo(args, before)
    if before["state"] == "absent":
        accounts.change(ctx, ["useradd"] + _add_flags(args, after) + [args["name"]])
    else:
        flags = _modify_flags(args, before, after)
        if flags:
            accounts.change(ctx, ["usermod"] + flags + [args["name"]])
    if before.get("password") != after.get("password"):
        if "\n" in args["password"] or ":" in args["password"]:
            raise ModuleError("password must be a hash as crypt(3) makes it (`openssl passwd -6`)")
        accounts.change(ctx, ["chpasswd", "-e"], stdin="%s:%s\n" % (args["name"], args["password"]))
    if after.get("home_exists"):
        user = accounts.users().get(args["name"])
        if user is not None and not os.path.isdir(user.home):
            _make_home(user, args["skeleton"] or "/etc/skel")
    return _undo(args, before)


def _undo(args, before):
    was = {key: value for key, value in before.items() if key != "password"}
    return {"_undo": [{"kind": "user", "text": args["name"], "was": was}]}


def predict(ctx, args, before, after):
    """Note in the overlay how the account would be; a new one's number is what useradd would choose."""
    del ctx
    users, groups = overlay.active().users, accounts.groups()
    if after["state"] == "absent":
        users[args["name"]] = None
        return
    old = accounts.users().get(args["name"])
    uid, gid = _predicted_numbers(args, after, old, groups)
    home = args["home"] or (old.home if old else "/home/" + args["name"])
    comment = args["comment"] if args["comment"] is not None else old.comment if old else ""
    users[args["name"]] = accounts.User(
        args["name"], uid, gid, comment, home, args["shell"] or (old.shell if old else "/bin/sh")
    )
    for name in after.get("groups", ()):
        group = groups.get(name) or accounts.Group(name, None, [])
        if group.gid is not None and args["name"] not in group.members:
            overlay.active().groups[name] = group._replace(members=group.members + [args["name"]])
    if after.get("home_exists") and not files.is_directory(home):
        made = files.make_directories(home)
        files.set_attributes(made[-1], _home_mode(), uid, gid)


def _predicted_numbers(args, after, old, groups):
    uid = args["uid"] if args["uid"] is not None else old and old.uid
    if uid is None:
        uid = accounts.next_id({one.uid for one in accounts.users().values()}, args["system"])
    if args["group"] is not None:
        group = groups.get(after["group"])
        return uid, -1 if group is None or group.gid is None else group.gid
    if old is not None:
        return uid, old.gid
    group = groups.get(args["name"])
    if group is None:  # useradd makes one for the user
        taken = {one.gid for one in groups.values()}
        group = accounts.Group(args["name"], uid if uid not in taken else accounts.next_id(taken, args["system"]), [])
        overlay.active().groups[args["name"]] = group
    return uid, group.gid


def _add_flags(args, after):
    flags = ["-r"] if args["system"] else []
    if args["uid"] is not None:
        flags += ["-u", str(args["uid"])] + (["-o"] if args["non_unique"] else [])
    if args["group"] is not None:
        flags += ["-g", after["group"]]
    elif args["name"] in accounts.groups():
        flags.append("-N")  # useradd refuses to make a group that is there
    if after.get("groups"):
        flags += ["-G", ",".join(after["groups"])]
    for key, flag in (("comment", "-c"), ("home", "-d"), ("shell", "-s")):
        if args[key] is not None:
            flags += [flag, args[key]]
    if not args["create_home"]:
        return flags + ["-M"]
    if args["home"] is not None:
        parent = os.path.dirname(args["home"].rstrip("/"))
        os.makedirs(parent or "/", mode=0o755, exist_ok=True)
    return flags + ["-m"] + (["-k", args["skeleton"]] if args["skeleton"] else [])


def _modify_flags(args, before, after):
    flags = []
    for key, flag in (("uid", "-u"), ("group", "-g"), ("comment", "-c"), ("home", "-d"), ("shell", "-s")):
        if key in after and before[key] != after[key]:
            flags += [flag, str(after[key])]
            if key == "uid" and args["non_unique"]:
                flags.append("-o")
            if key == "home" and args["move_home"]:
                flags.append("-m")
    if before.get("groups") != after.get("groups"):
        flags += ["-G", ",".join(after["groups"])]
    return flags


def _make_home(user, skeleton):
    """The home folder from the skeleton, as useradd -m makes it."""
    os.makedirs(os.path.dirname(user.home) or "/", mode=0o755, exist_ok=True)
    if os.path.isdir(skeleton):
        import shutil

        shutil.copytree(skeleton, user.home, symlinks=True)
    else:
        os.mkdir(user.home)
    for folder, folders, others in os.walk(user.home):
        os.lchown(folder, user.uid, user.gid)
        for name in folders + others:
            os.lchown(os.path.join(folder, name), user.uid, user.gid)
    os.chmod(user.home, _home_mode())


def _home_mode():
    """HOME_MODE of /etc/login.defs, else what its UMASK leaves."""
    settings = {}
    try:
        with open("/etc/login.defs", errors="replace") as stream:
            for line in stream:
                words = line.split()
                if len(words) == 2 and words[0] in ("HOME_MODE", "UMASK"):
                    settings[words[0]] = int(words[1], 8)
    except (IOError, OSError, ValueError):
        pass
    return settings.get("HOME_MODE", 0o777 & ~settings.get("UMASK", 0o022))


def result(_ctx, args, after):
    """Ansible's return values; never the password."""
    values = {"name": args["name"], "state": args["state"]}
    if args["state"] == "absent":
        values["remove"] = args["remove"]
        return values
    values.update(append=args["append"], create_home=args["create_home"], move_home=args["move_home"])
    if args["groups"] is not None:
        values["groups"] = ",".join(after.get("groups", []))
    user = accounts.users().get(args["name"])
    if user is not None:
        values.update(uid=user.uid, group=user.gid, comment=user.comment, home=user.home, shell=user.shell)
    return values
