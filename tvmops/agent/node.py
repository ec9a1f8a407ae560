"""One path as check mode predicts it."""

import os
import stat

from .context import ModuleError

FORMATS = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK, "other": stat.S_IFIFO}


class Unknown(ModuleError):
    """Check mode cannot know what a real run would find here."""


class Node:
    """One predicted path. Its st_* attributes are those of os.stat_result.

    content: ("bytes", data), ("blob", sha256, size), ("disk", path of a real file),
    ("member", path of an archive, size, path in it) or ("unknown", why).
    fresh: a directory that would be made, so nothing on the disk below it counts.
    """

    st_blksize = 4096
    st_rdev = 0
    st_dev = -1

    def __init__(self, kind, **values):
        self.kind = kind
        self.mode = values.get("mode", 0)
        self.st_uid = values.get("uid", -1)
        self.st_gid = values.get("gid", -1)
        self.st_mtime_ns = values.get("mtime_ns", 0)
        self.st_atime_ns = values.get("atime_ns", self.st_mtime_ns)
        self.content = values.get("content")
        self.target = values.get("target")
        self.fresh = values.get("fresh", True)
        self.st_ino = values.get("ino") or -int.from_bytes(os.urandom(7), "big")  # no other process's either
        self.st_dev = values.get("dev", -1)
        self.st_nlink = values.get("links", 1)

    @property
    def st_mode(self):
        """Format and permission bits."""
        return FORMATS[self.kind] | self.mode

    @property
    def st_size(self):
        """Bytes. Raises Unknown."""
        if self.kind == "link":
            return len(os.fsencode(self.target))
        if self.kind != "file":
            return 4096
        kind = self.content[0]
        if kind == "bytes":
            return len(self.content[1])
        if kind in ("blob", "member"):
            return self.content[2]
        if kind == "disk":
            return os.stat(self.content[1]).st_size
        raise Unknown("the size is not known before a real run: %s" % self.content[1])

    @property
    def st_blocks(self):
        """Blocks of 512 bytes."""
        return (self.st_size + 511) // 512

    @property
    def st_mtime(self):
        """Seconds."""
        return self.st_mtime_ns / 1e9

    @property
    def st_atime(self):
        """Seconds."""
        return self.st_atime_ns / 1e9

    @property
    def st_ctime(self):
        """Seconds."""
        return self.st_mtime_ns / 1e9
