"""stat: tell what is known about a file."""

import os
import stat

from .. import attributes, files
from ..files import hashes

SPEC = {
    "path": {"type": "path", "required": True, "aliases": ["dest", "name"]},
    "follow": {"type": "bool", "default": False},
    "get_checksum": {"type": "bool", "default": True},
    "checksum_algorithm": {
        "type": "str",
        "choices": ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"],
        "default": "sha1",
        "aliases": ["checksum", "checksum_algo"],
    },
}
CHECK = "run"
EXAMPLE = {"path": "/proc/device-tree/model"}

KINDS = (
    ("isdir", stat.S_ISDIR),
    ("ischr", stat.S_ISCHR),
    ("isblk", stat.S_ISBLK),
    ("isreg", stat.S_ISREG),
    ("isfifo", stat.S_ISFIFO),
    ("islnk", stat.S_ISLNK),
    ("issock", stat.S_ISSOCK),
)
PERMISSIONS = ("rusr", "wusr", "xusr", "rgrp", "wgrp", "xgrp", "roth", "woth", "xoth")


def act(ctx, args):
    """Read only."""
    path = args["path"]
    status = files.status(path, args["follow"])
    if status is None:
        return {"changed": False, "stat": {"exists": False}}
    found = _fields(path, status)
    if found["islnk"]:
        found["lnk_target"] = files.read_link(path)
        found["lnk_source"] = files.real_path(path)
    try:
        found.update(size=status.st_size, blocks=status.st_blocks)
        if found["isreg"] and found["readable"] and args["get_checksum"]:
            found["checksum"] = hashes(path, args["checksum_algorithm"])[0]
    except files.Unknown as error:
        found.update(size=None, blocks=None, checksum=None)
        return {"changed": False, "stat": found, "unknown": True, "msg": error.msg}
    return {"changed": False, "stat": found}


def common_fields(path, status):
    """What `stat` and `find` both tell of a path."""
    mode = status.st_mode
    found = {
        "path": path,
        "mode": "%04o" % stat.S_IMODE(mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "pw_name": attributes.user_name(status.st_uid),
        "gr_name": attributes.group_name(status.st_gid),
        "inode": status.st_ino,
        "dev": status.st_dev,
        "nlink": status.st_nlink,
        "atime": status.st_atime,
        "mtime": status.st_mtime,
        "ctime": status.st_ctime,
        "isuid": bool(mode & stat.S_ISUID),
        "isgid": bool(mode & stat.S_ISGID),
    }
    found.update((name, test(mode)) for name, test in KINDS)
    found.update((name, bool(mode & (0o400 >> bit))) for bit, name in enumerate(PERMISSIONS))
    return found


def _fields(path, status):
    return dict(
        common_fields(path, status),
        exists=True,
        block_size=status.st_blksize,
        device_type=status.st_rdev,
        readable=files.may(path, os.R_OK),
        writeable=files.may(path, os.W_OK),
        executable=files.may(path, os.X_OK),
    )
