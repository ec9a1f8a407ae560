"""Package sources in apt's one-line style: finding, adding and removing a line of the .list files."""

import os
import re

MAIN = "/etc/apt/sources.list"
FOLDER = "/etc/apt/sources.list.d"

_LINE = re.compile(r"(?P<off>#)?[#\s]*(?P<source>deb(?:-src)?\s[^#]*?)\s*(?P<note>#.*)?\Z")
_SOURCE = re.compile(r"deb(-src)? (\[[^\]]*\] )?(?P<uri>[\w+.-]+:\S+) (?P<suite>\S+)(?P<components>( \S+)*)\Z")


def parsed(line):
    """(the source with single spaces, whether it is switched on) of a line; (None, False) for any other line."""
    match = _LINE.match(line.strip())
    if match is None:
        return None, False
    return " ".join(match.group("source").split()), match.group("off") is None


def problem_of(source):
    """Why apt would not take a source with single spaces, "" when it would."""
    match = _SOURCE.match(source)
    if match is None:
        return "a source is 'deb', perhaps [options], an address such as http://..., a suite, and components"
    if match.group("suite").endswith("/") == bool(match.group("components")):
        return "a suite needs components after it, unless it is a path that ends with /"
    return ""


def file_name(source):
    """Ansible's name for the file of a source: that of its address."""
    address = _SOURCE.match(source).group("uri").partition(":")[2].lstrip("/").rpartition("@")[2]
    return "_".join(re.sub("[^a-zA-Z0-9]", " ", address).split()) + ".list"


def added(texts, source, path):
    """{path: new text} that makes `source` known: nothing, a line switched on again, or a new line in `path`.

    texts: {path: text} of all files.
    """
    if any(parsed(line) == (source, True) for text in texts.values() for line in text.splitlines()):
        return {}
    found = {}
    for name, text in texts.items():
        lines = [_switched_on(line) if parsed(line)[0] == source else line for line in text.splitlines(True)]
        if "".join(lines) != text:
            found[name] = "".join(lines)
    if found:
        return found
    text = texts.get(path, "")
    return {path: text + ("" if text.endswith("\n") or not text else "\n") + source + "\n"}


def removed(texts, source):
    """{path: new text} without `source`; None for a file in which nothing is left."""
    found = {}
    for name, text in texts.items():
        lines = text.splitlines(True)
        kept = [line for line in lines if parsed(line) != (source, True)]
        if len(kept) != len(lines):
            found[name] = "".join(kept) or None
    return found


def list_path(name):
    """The path of the .list file with this name."""
    return os.path.join(FOLDER, name + ".list")


def _switched_on(line):
    return re.sub(r"\A[#\s]+", "", line)
