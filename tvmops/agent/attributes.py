"""Mode, owner and group of a file: the arguments that many modules share."""

import grp
import pwd
import stat

from . import overlay
from .context import ModuleError
from .files import default_mode, exists, kind, need_status, set_attributes

SPEC = {"mode": {"type": "mode"}, "owner": {"type": "str"}, "group": {"type": "str"}}

WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0o1000}


def observed(args, path, follow=True):
    """The attributes that `args` speaks of, as they are: {"mode": "0644", "owner": "root", "group": "root"}."""
    found = {}
    status = need_status(path, follow)
    if args.get("mode") is not None and not stat.S_ISLNK(status.st_mode):
        found["mode"] = "%04o" % stat.S_IMODE(status.st_mode)
    if args.get("owner") is not None:
        found["owner"] = user_name(status.st_uid)
    if args.get("group") is not None:
        found["group"] = group_name(status.st_gid)
    return found


def wanted(ctx, args, path, follow=True, directory=False):
    """The attributes that `args` asks for, in the same form; `path` need not exist.

    Raises ModuleError for a user or group the board does not have (in check mode an earlier task may make it).
    """
    asked = {}
    at = kind(path)
    if at == "link" and follow:
        at = "other" if exists(path) else "absent"
    if args.get("mode") is not None and at != "link":
        if at == "absent":
            current = default_mode(directory)
        else:
            status = need_status(path)
            current, directory = stat.S_IMODE(status.st_mode), stat.S_ISDIR(status.st_mode)
        asked["mode"] = "%04o" % parse_mode(args["mode"], current, directory)
    for key, to_id, to_name in (("owner", user_id, user_name), ("group", group_id, group_name)):
        if args.get(key) is not None:
            try:
                asked[key] = to_name(to_id(args[key]))
            except ModuleError:
                if not overlay.unsure():
                    raise
                asked[key] = args[key]
    return asked


def numbers(attributes):
    """(mode or None, uid or -1, gid or -1) of a dict as `wanted` gives it."""
    mode = int(attributes["mode"], 8) if "mode" in attributes else None
    return mode, _number(attributes.get("owner"), user_id), _number(attributes.get("group"), group_id)


def _number(name, to_id):
    if name is None:
        return -1
    try:
        return to_id(name)
    except ModuleError:
        if not overlay.unsure():  # then something unpredictable may make the account
            raise
        return -1


def apply(path, attributes, follow=True):
    """Give a file the attributes of a dict as `wanted` gives it; others stay."""
    mode, uid, gid = numbers(attributes)
    set_attributes(path, mode, uid, gid, follow)


def report(path):
    """Ansible's values about a file for a result; {"state": "absent"} when there is none."""
    state = kind(path)
    if state == "absent":
        return {"state": state}
    status = need_status(path, follow=False)
    if state == "file" and status.st_nlink > 1:
        state = "hard"
    return {
        "state": state,
        "mode": "%04o" % stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "owner": user_name(status.st_uid),
        "group": group_name(status.st_gid),
        "size": status.st_size,
    }


def user_id(name):
    """The uid of a user name or number."""
    known = overlay.active() and overlay.active().users.get(name)
    if known:
        return known.uid
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        if name.isdigit():
            return int(name)
        raise ModuleError("there is no user %r on this board" % name)


def group_id(name):
    """The gid of a group name or number."""
    known = overlay.active() and overlay.active().groups.get(name)
    if known:
        return known.gid
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdigit():
            return int(name)
        raise ModuleError("there is no group %r on this board" % name)


def user_name(uid):
    """The name of a uid, or its number as text."""
    for one in overlay.active().users.values() if overlay.active() is not None else ():
        if one is not None and one.uid == uid:
            return one.name
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    """The name of a gid, or its number as text."""
    for one in overlay.active().groups.values() if overlay.active() is not None else ():
        if one is not None and one.gid == gid:
            return one.name
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def parse_mode(text, current, directory=False):
    """The mode that octal or symbolic `text` makes of `current`, as chmod(1) does."""
    if text.isdigit():
        return int(text, 8)
    mode = current
    for clause in text.split(","):
        split = min(clause.index(one) for one in "+-=" if one in clause)
        mode = _symbolic(clause[:split], clause[split:], mode, directory)
    return mode


def _symbolic(who, actions, mode, directory):
    mask = 0
    for one in who.replace("a", "ugo"):
        mask |= WHO[one]
    umask = 0
    if not who:  # chmod(1): as "a", but bits of the umask stay untouched
        mask, umask = 0o7777, 0o777 & ~default_mode(directory=True)
    while actions:
        operator, rest = actions[0], actions[1:]
        end = min([rest.index(one) for one in "+-=" if one in rest] or [len(rest)])
        bits = _permission_bits(rest[:end], mode, directory) & mask & ~umask
        if operator == "+":
            mode |= bits
        elif operator == "-":
            mode &= ~bits
        else:
            # As GNU chmod: "=" leaves a directory's setuid and setgid bits unless they are named.
            kept = 0o6000 if directory and "s" not in rest[:end] else 0
            mode = (mode & ~(mask & ~kept)) | bits
        actions = rest[end:]
    return mode


def _permission_bits(letters, mode, directory):
    if letters in ("u", "g", "o"):
        shift = {"u": 6, "g": 3, "o": 0}[letters]
        return ((mode >> shift) & 7) * 0o111
    bits = 0
    for letter in letters:
        if letter == "X":
            bits |= 0o111 if directory or mode & 0o111 else 0
        else:
            bits |= BITS[letter]
    return bits
