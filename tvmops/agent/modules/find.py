"""find: files and directories by name, age, size, kind, mode and content."""

import codecs
import fnmatch
import os
import re
import stat
import time

from .. import attributes, files
from ..context import ModuleError
from ..textfile import compiled
from .stat import common_fields

SPEC = {
    "paths": {"type": "list", "elements": "path", "required": True, "aliases": ["name", "path"]},
    "patterns": {"type": "list", "elements": "str", "default": [], "aliases": ["pattern"]},
    "excludes": {"type": "list", "elements": "str", "aliases": ["exclude"]},
    "use_regex": {"type": "bool", "default": False},
    "contains": {"type": "str"},
    "read_whole_file": {"type": "bool", "default": False},
    "encoding": {"type": "str"},
    "file_type": {"type": "str", "choices": ["any", "directory", "file", "link"], "default": "file"},
    "recurse": {"type": "bool", "default": False},
    "depth": {"type": "int"},
    "follow": {"type": "bool", "default": False},
    "hidden": {"type": "bool", "default": False},
    "age": {"type": "str"},
    "age_stamp": {"type": "str", "choices": ["atime", "ctime", "mtime"], "default": "mtime"},
    "size": {"type": "str"},
    "mode": {"type": "mode"},
    "exact_mode": {"type": "bool", "default": True},
    "get_checksum": {"type": "bool", "default": False},
    "checksum_algorithm": {
        "type": "str",
        "choices": ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"],
        "default": "sha1",
        "aliases": ["checksum", "checksum_algo"],
    },
    "limit": {"type": "int"},
}
CHECK = "run"
PREDICTS = True
EXAMPLE = {"paths": "/var/log", "patterns": "*.old,*.log.gz", "recurse": True, "size": "10m", "age": "4w"}
AGE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # seconds
SIZE_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}  # bytes
KINDS = {"directory": stat.S_ISDIR, "file": stat.S_ISREG, "link": stat.S_ISLNK, "any": lambda mode: True}


def act(ctx, args):
    """Walk below every path and keep what fits."""
    search = Search(args)
    for path in args["paths"]:
        if search.full():
            break
        try:
            if not files.is_directory(path):
                raise ModuleError("'%s' is not a directory" % path)
            search.walk(path)
        except ModuleError as error:
            search.skipped[path] = error.msg
        except OSError as error:
            search.skipped[path] = str(error)
    return search.outcome()


class Search:
    """One task's search: what to look for, and what was found."""

    def __init__(self, args):
        self.args = args
        self.found = []
        self.examined = 0
        self.skipped = {}
        self._now = time.time()
        self._age = _number(args["age"], "age", AGE_UNITS)
        self._size = _number(args["size"], "size", SIZE_UNITS)
        default = [".*" if args["use_regex"] else "*"]
        self._wanted = _name_test(args["patterns"] or default, args["use_regex"])
        self._excluded = _name_test(args["excludes"] or [], args["use_regex"])
        self._contains = _content_test(args)

    def full(self):
        """True when as many were found as the task wants."""
        return self.args["limit"] is not None and len(self.found) >= self.args["limit"]

    def outcome(self):
        """The result."""
        msg = "All paths examined"
        if self.skipped:
            msg = "Not all paths examined: %s" % "; ".join(self.skipped[path] for path in sorted(self.skipped))
        elif self.full():
            msg = "Limit of matches reached"
        values = {"files": self.found, "matched": len(self.found), "examined": self.examined}
        return dict(values, changed=False, msg=msg, skipped_paths=self.skipped)

    def walk(self, folder, level=1, above=()):
        """Look at everything below a directory; `level` is 1 for the one the task names."""
        directories, others = [], []
        for name in files.names(folder):
            (directories if files.is_directory(os.path.join(folder, name)) else others).append(name)
        self.examined += len(directories) + len(others)
        if self.args["depth"] and level > self.args["depth"]:
            return
        for name in others + directories:
            if self.full():
                return
            self._consider(os.path.join(folder, name), name)
        if self.args["recurse"]:
            here = _identity(folder)
            for name in directories:
                self._descend(os.path.join(folder, name), level + 1, above + (here,))

    def _descend(self, folder, level, above):
        if self.full() or (files.kind(folder) == "link" and not self.args["follow"]):
            return
        if _identity(folder) in above:
            return  # a link to a directory that it is in
        try:
            self.walk(folder, level, above)
        except OSError as error:
            self.skipped[folder] = str(error)

    def _consider(self, path, name):
        if name.startswith(".") and not self.args["hidden"]:
            return
        status = files.status(path, follow=False)
        if status is None:
            return  # it went away meanwhile
        kind = self.args["file_type"]
        if not KINDS[kind](status.st_mode) or not self._wanted(name) or self._excluded(name):
            return
        if not self._age_fits(status) or not self._mode_fits(status):
            return
        if kind == "file" and not (self._size_fits(status) and self._contains(path)):
            return
        entry = _described(path, status)
        if self.args["get_checksum"] and stat.S_ISREG(status.st_mode):
            entry["checksum"] = files.hashes(path, self.args["checksum_algorithm"])[0]
        self.found.append(entry)

    def _age_fits(self, status):
        if self._age is None:
            return True
        return _at_least(self._now - getattr(status, "st_" + self.args["age_stamp"]), self._age)

    def _size_fits(self, status):
        return self._size is None or _at_least(status.st_size, self._size)

    def _mode_fits(self, status):
        if self.args["mode"] is None:
            return True
        mode = stat.S_IMODE(status.st_mode)
        wanted = attributes.parse_mode(self.args["mode"], 0)
        # As Ansible does it: without exact_mode one common bit is enough.
        return mode == wanted if self.args["exact_mode"] else mode & wanted != 0


def _identity(folder):
    status = files.need_status(folder)
    return status.st_dev, status.st_ino


def _number(text, name, units):
    """-5k -> (5120, True): a number in units, and whether at most that is wanted. None without text."""
    if text is None:
        return None
    match = re.match(r"(-?)(\d+)(%s)?\Z" % "|".join(sorted(units)), text.strip().lower())
    if match is None:
        raise ModuleError("%s %r is not a number, with one of %s after it or nothing" % (name, text, " ".join(units)))
    sign, digits, unit = match.groups()
    return int(digits) * units.get(unit, 1), sign == "-"


def _at_least(value, bound):
    number, at_most = bound
    return value <= number if at_most else value >= number


def _name_test(patterns, use_regex):
    """What tells whether a file's name fits one of the patterns."""
    if use_regex:
        expressions = [compiled(pattern) for pattern in patterns]
        return lambda name: any(expression.match(name) for expression in expressions)
    return lambda name: any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _content_test(args):
    """What tells whether a file's content fits `contains`."""
    if args["contains"] is None:
        return lambda path: True
    expression = compiled(args["contains"])
    try:
        reader = codecs.getreader(args["encoding"] or "utf-8")
    except LookupError:
        raise ModuleError("there is no encoding %r" % args["encoding"])

    def fits(path):
        try:
            with files.open_file(path) as raw:
                source = reader(raw, errors="surrogateescape")
                if args["read_whole_file"]:
                    return expression.search(source.read()) is not None
                return any(expression.match(line) for line in source)
        except (OSError, UnicodeError):
            return False

    return fits


def _described(path, status):
    """What Ansible tells of a file that was found."""
    return dict(common_fields(path, status), size=status.st_size)
