"""tar and zip archives as one list of members, checked before anything is unpacked."""

import fnmatch
import os
import posixpath
import stat
import tarfile
import time
import zipfile
import zlib
from collections import namedtuple

from .context import ModuleError

# kind: file, directory, link (target in `link`) or hard (another member's path in `link`).
# owner and group are names or numbers as text, uid and gid numbers, None where the archive has none.
# raw is tarfile's or zipfile's own, None in a list that was remembered.
Member = namedtuple("Member", "path kind mode size mtime link owner group uid gid raw")
MAX_LINKS = 40
MAX_REMEMBERED = 20000  # members of an archive
MAX_LISTS = 20  # archives
FAULTS = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error)
try:
    import lzma

    FAULTS += (lzma.LZMAError,)
except ImportError:
    pass  # a Python built without it: tarfile refuses tar.xz by itself


class Archive:
    """An open archive. Use as a context manager."""

    def __init__(self, path):
        self.path = path
        self._tar = self._zip = None
        try:
            # tar first: a tar whose last member is a zip looks like a zip from its end.
            self.kind, self._tar = "tar", tarfile.open(path, "r:*")
        except tarfile.ReadError:
            if not zipfile.is_zipfile(path):
                raise ModuleError("%s is not a tar or zip archive, or it is damaged" % path)
            self.kind, self._zip = "zip", zipfile.ZipFile(path)
        except FAULTS as error:
            raise ModuleError("cannot read the archive %s: %s" % (path, error))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        (self._tar or self._zip).close()

    def members(self):
        """All members, in order. Raises ModuleError for a damaged archive or a member that must not be unpacked."""
        try:
            if self._tar is not None:
                found = [_from_tar(one) for one in self._tar]
            else:
                found = [_from_zip(self._zip, one) for one in self._zip.infolist()]
        except FAULTS as error:
            raise ModuleError("the archive %s is damaged: %s" % (self.path, error))
        check_members(found)
        last = {one.path: one for one in found}  # tar archives may hold a path twice; the last one counts
        return [one for one in found if one.path != "." and last[one.path] is one]

    def find(self, path):
        """The member with this path. Raises KeyError, ModuleError."""
        return {one.path: one for one in self.members()}[path]

    def open(self, member):
        """A file member's content, as a binary file."""
        return self._tar.extractfile(member.raw) if self._tar is not None else self._zip.open(member.raw)


def remember(folder, sha256, kind, members):
    """Keep an archive's list of members, so that a later run need not have the archive to compare with it."""
    if len(members) > MAX_REMEMBERED:
        return
    import json

    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        partial = os.path.join(folder, ".%d" % os.getpid())
        with open(partial, "w") as target:
            json.dump({"kind": kind, "members": [one[:-1] for one in members]}, target)
        os.rename(partial, os.path.join(folder, sha256))
        lists = sorted((os.stat(path).st_mtime, path) for path in (os.path.join(folder, n) for n in os.listdir(folder)))
        for _, path in lists[:-MAX_LISTS]:
            os.unlink(path)
    except (OSError, UnicodeError):
        return  # next time the archive is fetched again


def recall(folder, sha256):
    """(kind, members) as `remember` kept them, None when it did not."""
    import json

    try:
        with open(os.path.join(folder, sha256)) as source:
            found = json.load(source)
        return found["kind"], [Member(*one + [None]) for one in found["members"]]
    except (IOError, OSError, ValueError, KeyError, TypeError):
        return None


def selected(members, include, exclude):
    """The members that `include` names (all when empty) and `exclude` does not; shell patterns."""

    def among(member, patterns):
        return any(fnmatch.fnmatch(member.path, one.rstrip("/")) or _below(member.path, one) for one in patterns)

    return [one for one in members if (not include or among(one, include)) and not among(one, exclude or ())]


def check_members(members):
    """Refuse absolute paths, '..', and links that lead out of the directory the archive is unpacked in."""
    links = {}
    for member in members:
        if member.path.startswith("/") or ".." in member.path.split("/"):
            raise ModuleError("the archive is refused: the member %r would be unpacked elsewhere" % member.path)
        if member.kind == "link":
            links[member.path] = member.link
        if member.kind == "hard" and (member.link.startswith("/") or ".." in member.link.split("/")):
            raise ModuleError("the archive is refused: the member %r is a link to %r" % (member.path, member.link))
    for path, target in links.items():
        if not _stays_inside(posixpath.dirname(path), target, links):
            raise ModuleError("the archive is refused: the member %r is a link to %r, outside it" % (path, target))


def _stays_inside(directory, target, links):
    """Walk a link's target as the kernel would, through the archive's own links."""
    if target.startswith("/"):
        return False
    here = [part for part in directory.split("/") if part]
    todo = target.split("/")
    hops = 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return False
            here.pop()
            continue
        here.append(part)
        onward = links.get("/".join(here))
        if onward is not None:
            hops += 1
            if onward.startswith("/") or hops > MAX_LINKS:
                return False
            here.pop()
            todo = onward.split("/") + todo
    return True


def _below(path, directory):
    return path.startswith(directory.rstrip("/") + "/")


def _clean(name):
    """A member's path without './' and a final slash; '..' and a leading '/' are left for the check to see."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return ("/" if name.startswith("/") else "") + ("/".join(parts) or ".")


def _from_tar(info):
    link = None
    if info.isfile():
        kind = "file"
    elif info.isdir():
        kind = "directory"
    elif info.issym():
        kind, link = "link", info.linkname
    elif info.islnk():
        kind, link = "hard", _clean(info.linkname)
    else:
        raise ModuleError("the archive is refused: the member %r is a device or a pipe" % info.name)
    owner, group = info.uname or str(info.uid), info.gname or str(info.gid)
    mode = stat.S_IMODE(info.mode)
    numbers = info.uid, info.gid
    return Member(_clean(info.name), kind, mode, info.size, int(info.mtime), link, owner, group, *numbers + (info,))


def _from_zip(archive, info):
    mode = info.external_attr >> 16
    kind, link = "file", None
    if info.filename.endswith("/") or stat.S_ISDIR(mode):
        kind = "directory"
    elif stat.S_ISLNK(mode):
        kind, link = "link", os.fsdecode(archive.read(info))
    default = 0o755 if kind == "directory" else 0o644
    mtime = int(time.mktime(info.date_time + (0, 0, -1)))
    nobody = (None, None, None, None)
    return Member(
        _clean(info.filename), kind, stat.S_IMODE(mode) or default, info.file_size, mtime, link, *nobody + (info,)
    )
