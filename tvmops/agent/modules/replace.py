"""replace: every match of a regular expression in a file becomes another text."""

import re

from ..context import ModuleError
from ..textfile import SPEC as TEXT_FILE
from ..textfile import apply, compiled, missing, read, states

SPEC = dict(
    TEXT_FILE,
    regexp={"type": "str", "required": True},
    replace={"type": "str", "default": ""},
    after={"type": "str"},
    before={"type": "str"},
    encoding={"type": "str", "default": "utf-8"},
)
EXAMPLE = {"path": "/etc/hosts", "regexp": r"(\s)old\.board\b", "replace": r"\1new.board"}
VERIFY = False  # the new text may match again: that is the playbook's to avoid, as in Ansible
SECTION = "tvmops_section"
INLINE_FLAGS = re.compile(r"\(\?([aiLmsux]+)\)")
predict = apply


def inspect(ctx, args):
    """The file's text as it is, and as it should be."""
    path, old = read(args["path"])
    if old is None:
        raise missing(args["path"], "")
    text = _decoded(args, old)
    new, said = _replaced(args, text)
    before, after = states(ctx, args, path, old, _encoded(args, new))
    # Shown as text whatever the encoding; compared alike, for the same text has the same bytes.
    before["content"], after["content"] = text, new
    after["_said"] = said
    return before, after


def result(ctx, args, after):
    """How many replacements there were, in words."""
    return {"msg": after["_said"], "rc": 0}


def _decoded(args, data):
    try:
        return data.decode(args["encoding"], "surrogateescape")
    except LookupError:
        raise ModuleError("there is no encoding %r" % args["encoding"], path=args["path"])
    except UnicodeError as error:
        raise ModuleError("%s is not %s text: %s" % (args["path"], args["encoding"], error), path=args["path"])


def _encoded(args, text):
    try:
        return text.encode(args["encoding"], "surrogateescape")
    except UnicodeError as error:
        raise ModuleError("the new text cannot be written as %s: %s" % (args["encoding"], error), path=args["path"])


def _replaced(args, text):
    """(the new text, what was done in words)."""
    expression = compiled(args["regexp"], re.MULTILINE)
    start, end = 0, len(text)
    if args["after"] is not None or args["before"] is not None:
        match = _section(args).search(text)
        if match is None:
            return text, "after and before do not match anything in %s" % args["path"]
        start, end = match.span(SECTION)
    try:
        new, count = expression.subn(args["replace"], text[start:end])
    except (re.error, IndexError) as error:
        raise ModuleError("replace %r does not fit the expression: %s" % (args["replace"], error), path=args["path"])
    if new == text[start:end]:
        return text, ""
    return text[:start] + new + text[end:], "%d replacements made" % count


def _section(args):
    """An expression that finds the part between `after` and `before`."""
    flags, edges = "s", []
    for one in (args["after"] or "", args["before"] or ""):
        compiled(one, re.DOTALL)
        leading = INLINE_FLAGS.match(one)
        start = leading.end() if leading else 0
        flags += leading.group(1) if leading else ""  # these must stand at the start of the whole expression
        edges.append("(?:%s)" % one[start:])
    # As Ansible: `before` alone takes everything up to its last match.
    part = ".*" if args["after"] is None or args["before"] is None else ".*?"
    return compiled("(?%s)%s(?P<%s>%s)%s" % (flags, edges[0], SECTION, part, edges[1]))
