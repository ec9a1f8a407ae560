"""dpkg's database, read without dpkg-query, which parses all of it for every question."""

import os
import re

from .packages import Installed, parse_provides

DPKG = "/var/lib/dpkg"
FIELD = re.compile(r"^(Architecture|Version|Status|Provides): (.*)$", re.MULTILINE)
WANTS = {"unknown": "u", "install": "i", "hold": "h", "deinstall": "r", "purge": "p"}
STATES = {
    "not-installed": "n",
    "config-files": "c",
    "half-installed": "H",
    "unpacked": "U",
    "half-configured": "F",
    "triggers-awaited": "W",
    "triggers-pending": "t",
    "installed": "i",
}


def is_interrupted(dpkg=DPKG):
    """True when dpkg's own journal is not empty: it was stopped in the middle."""
    try:
        return any(name.isdigit() for name in os.listdir(os.path.join(dpkg, "updates")))
    except OSError:
        return False


def look_up(names, dpkg=DPKG):
    """What dpkg knows of these names, every architecture; None when only dpkg-query can tell.

    dpkg itself writes the file, a paragraph for each package with `Package` as its first field; what has happened
    since it was written is in its journal.
    """
    try:
        told = paragraphs(os.path.join(dpkg, "status"), names)
    except (IOError, OSError):
        return None
    if is_interrupted(dpkg):
        return None
    found = []
    for name, paragraph in told:
        package = _package(name, dict(FIELD.findall(paragraph.decode("utf-8", "replace"))))
        if package is None:
            return None
        found.append(package)
    return found


def paragraphs(path, names):
    """[(name, its paragraph in bytes), ...] of a file of dpkg's or apt's, every architecture. Raises OSError."""
    with open(path, "rb") as source:
        data = b"\n" + source.read()
    found = []
    for name in names:
        start = b"\nPackage: " + name.encode("ascii", "replace") + b"\n"
        at = data.find(start)
        while at >= 0:
            end = data.find(b"\n\n", at)
            found.append((name, data[at : end if end >= 0 else len(data)]))
            at = data.find(start, at + 1)
    return found


def _package(name, fields):
    words = fields.get("Status", "").split()
    if len(words) != 3 or words[0] not in WANTS or words[2] not in STATES:
        return None
    status = WANTS[words[0]] + STATES[words[2]] + (" " if words[1] == "ok" else "R")
    provides = parse_provides(fields.get("Provides", ""))
    return Installed(name, fields.get("Architecture", ""), fields.get("Version", ""), status, provides)
