"""Where this board's apt gets packages from, for messages."""

import glob
import os
import re

MAIN = "etc/apt/sources.list"
FOLDER = "etc/apt/sources.list.d"


def read(root="/"):
    """["http://mirror/debian bookworm", ...] of all sources files, sorted, without repeats."""
    found = set()
    for path in [os.path.join(root, MAIN)] + glob.glob(os.path.join(root, FOLDER, "*.list")):
        found.update(parse_list(_text(path)))
    for path in glob.glob(os.path.join(root, FOLDER, "*.sources")):
        found.update(parse_deb822(_text(path)))
    return sorted(found)


def parse_list(text):
    """One-line style: `deb [options] URL suite components`."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)", line)
        if match:
            found.append(_named(match.group(1), match.group(2)))
    return found


def parse_deb822(text):
    """Paragraph style: Types, URIs, Suites; sources that are switched off are left out."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = {}
        for line in re.sub(r"\n[ \t]+", " ", re.sub(r"(?m)^#.*\n?", "", paragraph)).splitlines():
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.split()
        if "deb" in fields.get("types", ()) and fields.get("enabled", ["yes"])[:1] not in (["no"], ["false"]):
            found += [_named(uri, suite) for uri in fields.get("uris", ()) for suite in fields.get("suites", ())]
    return found


def _named(uri, suite):
    return "%s %s" % (uri.rstrip("/"), suite)


def _text(path):
    try:
        with open(path, errors="replace") as stream:
            return stream.read()
    except (IOError, OSError):
        return ""
