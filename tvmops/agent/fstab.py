"""/etc/fstab as text, and the table of what is mounted."""

import os
import re

FIELDS = ("src", "path", "fstype", "opts", "dump", "passno")
ESCAPED = re.compile(r"\\([0-7]{3})")


def escape(text):
    """A field as fstab(5) writes it."""
    for letter in "\\ \t\n":
        text = text.replace(letter, "\\%03o" % ord(letter))
    return text


def unescape(field):
    """What a field of fstab or of the kernel's table means."""
    return ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), field)


def parse_line(line):
    """The six fields of a line by their names, the last two "0" where they are left out; None for other lines."""
    words = line.split()
    if line.lstrip().startswith("#") or not 4 <= len(words) <= 6:
        return None
    fields = [unescape(word) for word in words] + ["0"] * (6 - len(words))
    return {name: fields[index] for index, name in enumerate(FIELDS)}


def edited(text, entry, present):
    """The text with one line for the entry, or none. Other lines stay as they are.

    An entry is known by its path; one of swap, which has none, by its source.
    """
    kept, done = [], False
    for line in text.splitlines(True):
        found = parse_line(line)
        if found is None or not _same(found, entry):
            kept.append(line)
        elif present and not done:
            done = True
            kept.append(line if found == entry else line_of(entry))
    if present and not done:
        if kept and not kept[-1].endswith("\n"):
            kept[-1] += "\n"
        kept.append(line_of(entry))
    return "".join(kept)


def line_of(entry):
    """An entry as a line."""
    return " ".join(escape(entry[key]) for key in FIELDS) + "\n"


def _same(found, entry):
    if found["path"] != entry["path"]:
        return False
    return found["fstype"] != "swap" or entry.get("src") in (None, found["src"])


def mounted(path, table="/proc/self/mountinfo"):
    """What is mounted at a path, the uppermost: {"src", "fstype", "root"}; None when nothing is."""
    point, found = os.path.realpath(path), None
    with open(table, errors="surrogateescape") as source:
        for line in source:
            left, _, right = line.partition(" - ")
            fields, more = left.split(" "), right.split(" ")
            if unescape(fields[4]) == point:
                found = {"src": unescape(more[1]), "fstype": more[0], "root": unescape(fields[3])}
    return found
