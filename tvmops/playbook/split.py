"""Free-form arguments: `copy: src=a dest="b c"` and `command: make -j4 chdir=/tmp`."""

from __future__ import annotations

import codecs
import re

# What command and shell take as options in the middle of their text.
COMMAND_OPTIONS = frozenset(
    ("chdir", "creates", "executable", "removes", "stdin", "stdin_add_newline", "strip_empty_ends")
)
_OPENING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_ESCAPE = re.compile(r"\\(U[0-9a-fA-F]{8}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\\'\"abfnrtv])")
_OPTION = re.compile(r"([^=\s'\"{]+)=(.*)", re.DOTALL)


class Unbalanced(ValueError):
    """A quote or a Jinja bracket is opened and never closed."""


def words(text: str) -> list[tuple[int, int]]:  # noqa: C901
    """The (start, end) of each word; white space inside quotes and Jinja brackets ends none. Raises Unbalanced."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    quote = closing = ""
    index = 0
    while index < len(text):
        pair, char = text[index : index + 2], text[index]
        step = 1
        if closing:
            if pair == closing:
                closing, step = "", 2
        elif pair in _OPENING:
            closing, step = _OPENING[pair], 2
        elif quote:
            quote = "" if char == quote and text[index - 1] != "\\" else quote
        elif char in "'\"" and (index == 0 or text[index - 1] != "\\"):
            quote = char
        elif char.isspace():
            if start is not None:
                spans.append((start, index))
                start = None
            index += 1
            continue
        start = index if start is None else start
        index += step
    if quote or closing:
        raise Unbalanced(f"{quote or closing!r} is missing its partner")
    if start is not None:
        spans.append((start, len(text)))
    return spans


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: codecs.decode(found.group(0), "unicode-escape"), text)


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def split_arguments(text: str, only: frozenset[str] | None = None) -> tuple[dict[str, str], str]:
    """(options, the rest of the text). With `only`, other `name=value` words belong to the rest. Raises Unbalanced."""
    options: dict[str, str] = {}
    rest: list[str] = []
    at = 0
    for start, end in words(text):
        found = _OPTION.fullmatch(text[start:end])
        if found and (only is None or found.group(1) in only):
            options[found.group(1)] = _unquote(_unescape(found.group(2)))
            rest.append(text[at:start])
            at = end
    rest.append(text[at:])
    return options, "".join(rest).strip() if only is None or options else text.strip()
