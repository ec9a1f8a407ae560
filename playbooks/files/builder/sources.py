"""Unpacking the source archive: checked names, only what differs is written, an interrupted one is gone on with.

Files that are equal keep their time, so that what was compiled from them stays valid.
"""

import filecmp
import hashlib
import os
import shutil
import tarfile
import time
import zlib

from faults import BuildFault

MARKER = ".tvmops-source"
SHOW_EVERY = 0.3  # seconds


def unpack(archive, target, wanted_sha256, tell):
    """Make the folder `target` hold exactly the archive's content. Returns False when it already did.

    Raises BuildFault for a damaged archive or one that reaches out of its folder, OSError when the disk is full.
    """
    digest = file_sha256(archive)
    if wanted_sha256 and digest != wanted_sha256:
        raise BuildFault(
            "the source archive %s has the SHA-256 %s, not %s" % (archive, digest, wanted_sha256),
            "it was damaged on the way: run again",
        )
    marker = os.path.join(target, MARKER)
    if (_content(marker).split() or [""])[0] == digest:
        return False
    if not os.path.isdir(target):
        os.makedirs(target)
    if os.path.exists(marker):
        os.unlink(marker)
    try:
        with tarfile.open(archive, "r:*") as tar:
            kept = _write(tar, target, tell)
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise BuildFault("the source archive %s cannot be read: %s" % (archive, error), "make and send it anew")
    _remove_others(target, kept)
    with open(marker + ".new", "w") as stream:
        stream.write("%s\n%s\n" % (digest, hashlib.sha256("\n".join(sorted(kept)).encode("utf-8")).hexdigest()))
    os.rename(marker + ".new", marker)
    return True


def names_digest(target):
    """A hash of the names of all files in `target`: CMake's globs saw just these."""
    return (_content(os.path.join(target, MARKER)).split() + ["", ""])[1]


def _write(tar, target, tell):
    members = tar.getmembers()
    kept, shown = {MARKER}, 0.0
    for number, member in enumerate(members, 1):
        name = _checked(member)
        if name == ".":
            continue
        path = os.path.join(target, name)
        _parent(target, name)
        kept.add(name)
        if member.isdir():
            _folder(path)
        elif member.issym():
            _link(path, member.linkname)
        else:
            _file(tar, member, path)
        if time.monotonic() - shown > SHOW_EVERY:
            shown = time.monotonic()
            tell("[%d/%d] unpacking the sources" % (number, len(members)))
    return kept


def _checked(member):
    """The member's name, normalised. Raises BuildFault for what may not be in an archive of sources."""
    name = os.path.normpath(member.name)
    if os.path.isabs(member.name) or name.split("/")[0] == "..":
        raise BuildFault("the source archive would write outside of its folder: %s" % member.name, "do not use it")
    if member.issym():
        end = os.path.normpath(os.path.join(os.path.dirname(name), member.linkname))
        if os.path.isabs(member.linkname) or end.split("/")[0] == "..":
            raise BuildFault(
                "the source archive has a link that leads out of it: %s -> %s" % (member.name, member.linkname),
                "do not use it",
            )
    elif not (member.isdir() or member.isfile()) or member.islnk():
        message = "the source archive has what is neither file, folder nor symbolic link: %s" % member.name
        raise BuildFault(message, "pack it anew")
    return name


def _parent(target, name):
    """Make the folders above; one that is a link, and so may lead elsewhere, is replaced."""
    folder = target
    for part in os.path.dirname(name).split("/"):
        if part:
            folder = os.path.join(folder, part)
            _folder(folder)


def _folder(path):
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    if not os.path.isdir(path):
        os.mkdir(path)


def _link(path, leads_to):
    if os.path.islink(path) and os.readlink(path) == leads_to:
        return
    _clear(path)
    os.symlink(leads_to, path)


def _file(tar, member, path):
    mode = 0o755 if member.mode & 0o100 else 0o644
    same_size = os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) == member.size
    fresh = path + ".tvmops-new"
    with tar.extractfile(member) as source, open(fresh, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    if same_size and filecmp.cmp(fresh, path, shallow=False):
        os.unlink(fresh)
    else:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        os.rename(fresh, path)
    if os.stat(path).st_mode & 0o777 != mode:
        os.chmod(path, mode)


def _clear(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _remove_others(target, kept):
    """What an older archive had and this one has not."""
    for folder, names, files in os.walk(target, topdown=False):
        for name in names + files:
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, target)
            if inside in kept:
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                # Archives need not name the folders of their files.
                if not os.listdir(path):
                    os.rmdir(path)
            else:
                os.unlink(path)


def file_sha256(path):
    """SHA-256 of a file's content, as hex. Raises BuildFault when it is not there."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(1 << 20), b""):
                digest.update(piece)
    except FileNotFoundError:
        raise BuildFault("there is no file %s" % path, "run the whole playbook: it sends this file first")
    return digest.hexdigest()


def _content(path):
    try:
        with open(path) as stream:
            return stream.read().strip()
    except OSError:
        return ""
