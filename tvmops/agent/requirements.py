"""pip's requirement lists: from a task's `name` and from requirements files."""

import os
import re

from . import files

MAX_DEPTH = 10  # requirements files that include each other


class Requirements:
    """requirements and constraints as texts; `opaque` when there is a line that only pip can judge."""

    def __init__(self):
        self.requirements = []
        self.constraints = []
        self.opaque = False


def joined(names):
    """Undo the split at commas: ["a>=1", "<2", "b[x", "y]"] are two requirements."""
    found = []
    for name in (one.strip() for one in names):
        if not name:
            continue
        open_bracket = found and found[-1].count("[") > found[-1].count("]")
        if found and (open_bracket or name[0] in "<>=!~"):
            found[-1] += "," + name
        else:
            found.append(name)
    return found


def with_version(name, version):
    """`name` held to `version`, which may be a number or start with an operator."""
    return name + ("==" if version[:1].isalnum() else "") + version


def read(path, depth=0):
    """The requirements file and those it includes. Raises IOError, and in check mode Unknown."""
    found = Requirements()
    text = files.read(path).decode("utf-8", "replace")
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        _add_line(found, re.sub(r"(^|\s)#.*", "", line).strip(), os.path.dirname(path), depth)
    return found


def _add_line(found, line, folder, depth):
    include = re.match(r"(-r|--requirement|-c|--constraint)(?:\s+|=)(\S+)$", line)
    if include:
        if depth >= MAX_DEPTH or "://" in include.group(2) or "$" in include.group(2):
            found.opaque = True
            return
        inner = read(os.path.join(folder, include.group(2)), depth + 1)
        found.opaque = found.opaque or inner.opaque
        found.constraints += inner.constraints
        is_constraint = include.group(1) in ("-c", "--constraint")
        (found.constraints if is_constraint else found.requirements).extend(inner.requirements)
    elif line.startswith(("-e", "--editable")) or "${" in line:
        found.opaque = True
    elif line and not line.startswith("-"):
        # --hash and the like say how to install, not what
        found.requirements.append(re.split(r"\s+--?[a-z]", line)[0].strip())
