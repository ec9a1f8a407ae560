"""lineinfile: one line of a text file, present or absent."""

import re

from .. import textfile
from ..context import ModuleError
from ..textfile import compiled

SPEC = dict(
    textfile.SPEC,
    line={"type": "str", "aliases": ["value"]},
    regexp={"type": "str", "aliases": ["regex"]},
    search_string={"type": "str"},
    state={"type": "str", "choices": ["present", "absent"], "default": "present"},
    insertafter={"type": "str"},
    insertbefore={"type": "str"},
    backrefs={"type": "bool", "default": False},
    create={"type": "bool", "default": False},
    firstmatch={"type": "bool", "default": False},
)
RULES = {
    "required_if": [["state", "present", ["line"]], ["backrefs", True, ["regexp"]]],
    "required_one_of": [["line", "regexp", "search_string"]],
    "mutually_exclusive": [["insertbefore", "insertafter"], ["regexp", "search_string"], ["backrefs", "search_string"]],
}
EXAMPLE = {"path": "/etc/environment", "line": "TVM_HOME=/opt/tvmops/releases/current", "create": True}
NEWLINE = b"\n"


def VERIFY(args):  # noqa: N802  (the contract's name)
    """An expression that does not match the new line may find another line to replace next time, as in Ansible."""
    pattern = args["search_string"] if args["search_string"] is not None else args["regexp"]
    if args["state"] == "absent" or pattern is None:
        return True
    return not args["backrefs"] and bool(_matcher(args)(args["line"].encode() + NEWLINE))


def inspect(ctx, args):
    """The file's text as it is, and as it should be."""
    path, old = textfile.read(args["path"])
    if old is None and args["state"] == "present" and not args["create"]:
        raise textfile.missing(args["path"], " (create: true would make it)")
    new, said, found = _edited(args, old or b"")
    before, after = textfile.states(ctx, args, path, old, None if old is None and args["state"] == "absent" else new)
    after.update(_said=said, _found=found)
    return before, after


def apply(ctx, args, before, after):
    """Replace the file's text in one step, and set the attributes. The copy is told as Ansible's lineinfile does."""
    extra = textfile.apply(ctx, args, before, after)
    return {"backup": extra["backup_file"]} if extra else {}


predict = apply


def result(ctx, args, after):
    """Ansible's return values."""
    values = {"msg": after["_said"]}
    if args["state"] == "absent":
        values["found"] = after["_found"]
    return values


def _edited(args, old):
    """The new text -> (bytes, what was done, how many lines were removed)."""
    lines = _lines(old)
    if args["state"] == "absent":
        matches = _matcher(args)
        kept = [line for line in lines if not matches(line)]
        removed = len(lines) - len(kept)
        return b"".join(kept), "%d line(s) removed" % removed if removed else "", removed
    text = args["line"]
    if text.endswith("\n"):
        text = text[:-1]
    if "\n" in text:
        raise ModuleError("line must be a single line: use copy, or one lineinfile task for each line")
    new, said = _with_line(args, lines, _bytes(text))
    return new, said, 0


def _lines(data):
    """Lines that end with \\n only, as a text file has them: splitlines() would also split at a lone \\r."""
    parts = data.split(NEWLINE)
    return [part + NEWLINE for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _bytes(text):
    return text.encode("utf-8", "surrogateescape")


def _matcher(args):
    """What finds the lines: the expression, the string, or the line itself."""
    if args["regexp"] is not None:
        return compiled(_bytes(args["regexp"])).search
    if args["search_string"] is not None:
        wanted = _bytes(args["search_string"])
        return lambda line: wanted in line
    exact = _bytes(args["line"]).rstrip(b"\r\n")
    return lambda line: line.rstrip(b"\r\n") == exact


def _with_line(args, lines, line):
    found = match = None
    if args["regexp"] is not None or args["search_string"] is not None:
        found, match = _find(lines, _matcher(args), args["firstmatch"])
    if found is None:
        # As Ansible: with firstmatch nobody looks beyond the line that the new one is put beside.
        anchor = _anchor(args, lines, line) if args["firstmatch"] else None
        found = _find(lines[:anchor], lambda one: one.rstrip(b"\r\n") == line, first=False)[0]
    if found is None:
        return (b"".join(lines), "") if args["backrefs"] else _inserted(args, lines, line)
    new = _expanded(match, line) if args["backrefs"] and match is not None else line
    if not new.endswith(NEWLINE):
        new += NEWLINE
    if lines[found] == new:
        return b"".join(lines), ""
    return b"".join(lines[:found] + [new] + lines[found + 1 :]), "line replaced"


def _expanded(match, line):
    try:
        return match.expand(line)
    except (re.error, IndexError) as error:
        raise ModuleError("cannot fill the back-references of line: %s" % error)


def _find(lines, matches, first):
    """The first or last line that matches -> (its index, the match), or (None, None)."""
    index = match = None
    for number, line in enumerate(lines):
        one = matches(line)
        if one:
            index, match = number, one
            if first:
                break
    return index, match


def _anchor(args, lines, line):
    """The index of the line that insertafter or insertbefore describes; None when there is none."""
    pattern = args["insertbefore"] if args["insertbefore"] is not None else args["insertafter"]
    if pattern in (None, "BOF", "EOF"):
        return None
    search = compiled(_bytes(pattern)).search
    return _find(lines, lambda one: one.rstrip(b"\r\n") != line and search(one), args["firstmatch"])[0]


def _inserted(args, lines, line):
    """Put the line where insertafter or insertbefore says, else at the end."""
    anchor = _anchor(args, lines, line)
    position = len(lines)
    if "BOF" in (args["insertbefore"], args["insertafter"]):
        position = 0
    elif anchor is not None:
        position = anchor + (0 if args["insertbefore"] is not None else 1)
    if args["insertbefore"] is None and position < len(lines) and lines[position].rstrip(b"\r\n") == line:
        return b"".join(lines), ""
    lines = list(lines)
    if position == len(lines) and lines and not lines[-1].endswith(NEWLINE):
        lines[-1] += NEWLINE
    lines.insert(position, line + NEWLINE)
    return b"".join(lines), "line added"
