"""apt's package lists on the disk: how old they are, whether an update changed them."""

import os

STAMP = "var/lib/apt/periodic/update-success-stamp"
LISTS = "var/lib/apt/lists"


def list_files(root="/"):
    """The names of the index files that have been fetched."""
    try:
        names = os.listdir(os.path.join(root, LISTS))
    except OSError:
        return []
    return sorted(name for name in names if name not in ("lock", "partial", "auxfiles"))


def update_time(root="/"):
    """When the lists were last updated, in seconds since the epoch; 0 when there are none.

    A fresh image often has an empty list folder of recent date: that is no update.
    """
    if not list_files(root):
        return 0.0
    times = []
    for name in (STAMP, LISTS):
        try:
            times.append(os.stat(os.path.join(root, name)).st_mtime)
        except OSError:
            continue
    return max(times) if times else 0.0


def touch(root="/"):
    """Note that the lists were checked just now: apt leaves the dates alone when the mirror had nothing new."""
    try:
        os.utime(os.path.join(root, LISTS), None)
    except OSError:
        pass


def remove_torn(root="/"):
    """Remove lists that a power cut has left empty or without an end -> their names. apt itself takes them for good."""
    removed = []
    for name in list_files(root):
        path = os.path.join(root, LISTS, name)
        if name.endswith(("_Packages", "_Release", "_InRelease")) and _is_torn(path):
            os.unlink(path)
            removed.append(name)
    return removed


def _is_torn(path):
    try:
        with open(path, "rb") as source:
            if source.seek(0, os.SEEK_END) == 0:
                return True
            source.seek(-1, os.SEEK_END)
            return source.read(1) != b"\n"
    except (IOError, OSError):
        return False


def signature(root="/"):
    """What the lists are, for comparing before and after an update."""
    found = []
    for name in list_files(root):
        try:
            status = os.stat(os.path.join(root, LISTS, name))
        except OSError:
            continue
        found.append((name, status.st_size, int(status.st_mtime)))
    return found
