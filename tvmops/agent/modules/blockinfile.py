"""blockinfile: a block of lines between two marker lines of a text file, present or absent."""

import re

from ..textfile import SPEC as TEXT_FILE
from ..textfile import apply, compiled, missing, read, states

SPEC = dict(
    TEXT_FILE,
    block={"type": "str", "default": "", "aliases": ["content"]},
    state={"type": "str", "choices": ["present", "absent"], "default": "present"},
    marker={"type": "str", "default": "# {mark} ANSIBLE MANAGED BLOCK"},
    marker_begin={"type": "str", "default": "BEGIN"},
    marker_end={"type": "str", "default": "END"},
    insertafter={"type": "str"},
    insertbefore={"type": "str"},
    create={"type": "bool", "default": False},
    append_newline={"type": "bool", "default": False},
    prepend_newline={"type": "bool", "default": False},
)
RULES = {"mutually_exclusive": [["insertbefore", "insertafter"]]}
EXAMPLE = {
    "path": "/etc/hosts",
    "block": "192.0.2.10 board1\n192.0.2.11 board2\n",
    "marker": "# {mark} boards",
    "create": True,
}
# A file that has the markers twice, or markers that are no single line, change again in the next run, as in Ansible.
VERIFY = False
NEWLINE = b"\n"
predict = apply


def inspect(ctx, args):
    """The file's text as it is, and as it should be."""
    path, old = read(args["path"])
    if old is None and not args["create"]:
        raise missing(args["path"], " (create: true would make it)")
    if old is None and args["state"] == "absent":
        return states(ctx, args, path, None, None)
    before, after = states(ctx, args, path, old, _edited(args, old or b""))
    after["_said"] = _said(args, old, after["content"])
    return before, after


def result(ctx, args, after):
    """What was done, in words."""
    if after["state"] == "absent":
        return {"msg": "File %s not present" % args["path"]}
    return {"msg": after["_said"]}


def _said(args, old, new):
    if old == new:
        return ""
    if old is None:
        return "File created"
    return "Block inserted" if _wants_block(args) else "Block removed"


def _wants_block(args):
    return args["state"] == "present" and args["block"] != ""


def _bytes(text):
    return text.encode("utf-8", "surrogateescape")


def _markers(args):
    """The two marker lines, without their newlines."""
    marks = (args["marker_begin"], args["marker_end"])
    return [_bytes(args["marker"].replace("{mark}", mark)) for mark in marks]


def _edited(args, old):
    """The new text: the old block is taken out, the new one put where it was, else where the task says."""
    lines = old.splitlines(True)
    position = _take_out(lines, _markers(args))
    if position is None:
        position = _place(args, old, lines)
    if position > 0 and not lines[position - 1].endswith(NEWLINE):
        lines[position - 1] += NEWLINE
    block = _block_lines(args)
    if args["state"] == "present":
        if args["prepend_newline"] and position > 0 and lines[position - 1] != NEWLINE:
            block = [NEWLINE] + block
        if args["append_newline"] and position < len(lines) and lines[position] != NEWLINE:
            block = block + [NEWLINE]
    return b"".join(lines[:position] + block + lines[position:])


def _block_lines(args):
    if not _wants_block(args):
        return []
    begin, end = _markers(args)
    text = _bytes(args["block"])
    return [begin + NEWLINE, text if text.endswith(NEWLINE) else text + NEWLINE, end + NEWLINE]


def _take_out(lines, markers):
    """Remove the last lines between the markers, and these -> the index where they were; None without both."""
    found = []
    for marker in markers:
        places = [index for index, line in enumerate(lines) if line in (marker, marker + NEWLINE)]
        if not places:
            return None
        found.append(places[-1])
    first, last = sorted(found)
    del lines[first : last + 1]
    return first


def _place(args, text, lines):
    """The index of the line that a new block goes before."""
    before, pattern = args["insertbefore"] is not None, args["insertbefore"]
    if not before:
        pattern = args["insertafter"]
    if before and pattern == "BOF":
        return 0
    if pattern is None or (not before and pattern == "EOF"):
        return len(lines)
    expression = compiled(_bytes(pattern))
    if expression.flags & re.MULTILINE:
        match = expression.search(text)
        index = None if match is None else text.count(NEWLINE, 0, match.start() if before else match.end())
    else:
        matching = [number for number, line in enumerate(lines) if expression.search(line)]
        index = matching[-1] if matching else None
    if index is None:
        return len(lines)
    return min(len(lines), index if before else index + 1)
