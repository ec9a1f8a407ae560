"""The board's own users and groups, read from its files (Python's spwd is gone since 3.13)."""

import os
import time
from collections import namedtuple

from . import overlay
from .context import ModuleError

User = namedtuple("User", "name uid gid comment home shell")
Group = namedtuple("Group", "name gid members")

BUSY_DEADLINE = 15  # seconds to wait for another program's lock on the account files
PROGRAM_DEADLINE = 600  # seconds for one useradd or userdel; moving a home on an SD card is slow


def users(root="/"):
    """{name: User} of /etc/passwd."""
    found = {}
    for fields in _rows(root, "passwd", 7):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and fields[0] not in found:
            found[fields[0]] = User(fields[0], uid, gid, fields[4], fields[5], fields[6])
    return found if overlay.active() is None else _predicted(found, overlay.active().users)


def groups(root="/"):
    """{name: Group} of /etc/group."""
    found = {}
    for fields in _rows(root, "group", 4):
        gid = _number(fields[2])
        if gid is not None and fields[0] not in found:
            found[fields[0]] = Group(fields[0], gid, [name for name in fields[3].split(",") if name])
    return found if overlay.active() is None else _predicted(found, overlay.active().groups)


def next_id(taken, system):
    """The number that useradd or groupadd would choose with Debian's and Fedora's settings."""
    if system:
        return next((number for number in range(999, 99, -1) if number not in taken), 999)
    return max([number for number in taken if 1000 <= number < 60000] or [999]) + 1


def password_hash(name, root="/"):
    """The user's field in /etc/shadow, "" when there is none. Raises ModuleError when the file may not be read."""
    try:
        rows = list(_rows(root, "shadow", 2, strict=True))
    except (IOError, OSError) as error:
        raise ModuleError("cannot read /etc/shadow (%s): add `become: true`" % error.strerror)
    for fields in rows:
        if fields[0] == name:
            return fields[1]
    return ""


def change(ctx, argv, stdin=None):
    """Run useradd, groupmod, ... as root, waiting while another program holds the account files. Raises ModuleError."""
    if os.geteuid() != 0:
        raise ModuleError("only root can change users and groups: add `become: true`")
    program = ctx.which(argv[0])
    if program is None:
        raise ModuleError("this board has no %s (package passwd)" % argv[0])
    deadline = time.time() + BUSY_DEADLINE
    while True:
        rc, stdout, stderr = ctx.run([program] + argv[1:], stdin=stdin, timeout=PROGRAM_DEADLINE, env={"LC_ALL": "C"})
        if rc == 0:
            return
        if "cannot lock" not in stderr or time.time() > deadline:
            reason = stderr.strip() or stdout.strip() or "exit code %d" % rc
            raise ModuleError("%s failed: %s" % (argv[0], reason), rc=rc, stdout=stdout, stderr=stderr)
        ctx.progress("waiting: " + stderr.strip())
        time.sleep(0.5)


def _predicted(found, changes):
    """What is, with what a check run would have changed."""
    for name, one in changes.items():
        if one is None:
            found.pop(name, None)
        else:
            found[name] = one
    return found


def _rows(root, name, width, strict=False):
    try:
        with open(os.path.join(root, "etc", name), errors="surrogateescape") as stream:
            lines = stream.read().splitlines()
    except (IOError, OSError):
        if strict:
            raise
        return
    for line in lines:
        fields = line.split(":")
        if len(fields) >= width and fields[0] and not line.startswith(("#", "+", "-")):
            yield fields


def _number(text):
    try:
        return int(text)
    except ValueError:
        return None
