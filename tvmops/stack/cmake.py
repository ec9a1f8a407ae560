"""CMake's language, as far as finding and writing options needs it: commands with their arguments and comments.

Damaged text gives fewer commands, never an error: complaining about a file of CMake is CMake's own work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<bracket_comment>\#\[(?P<h>=*)\[.*?\](?P=h)\])
    |(?P<comment>\#[^\n]*)
    |(?P<bracket>\[(?P<b>=*)\[\n?(?P<inner>.*?)\](?P=b)\])
    |(?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<open>\()
    |(?P<close>\))
    |(?P<space>[ \t\r\f\v;]+)
    |(?P<newline>\n)
    |(?P<word>(?:[^\s()"\#;\\]|\\.|"[^"\n]*"(?=[^\s()]))+|["\\\[\]])""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = ("bracket_comment", "comment", "bracket", "quoted", "open", "close", "space", "newline", "word")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}
_ON = ("ON", "1", "YES", "TRUE", "Y")
_OFF = ("", "0", "OFF", "NO", "FALSE", "N", "IGNORE", "NOTFOUND", "NOT-FOUND", "NONE")


@dataclass(frozen=True)
class Command:
    """One call: `name` in lower case, its arguments without quotes, its line (from 1), the comment lines above it."""

    name: str
    arguments: tuple[str, ...]
    line: int
    comment: tuple[str, ...] = ()


def parse_cmake(text: str) -> list[Command]:
    """The commands of a CMake file, those inside if() and function() too, in reading order."""
    return list(_commands(text))


def is_on(value: str) -> bool:
    """Whether a value of an option asks for it: a path or a number other than 0 does, too, by TVM's reading."""
    text = value.strip().upper()
    return text not in _OFF and not text.endswith("-NOTFOUND")


def same_value(one: str, other: str) -> bool:
    """Whether two values of an option are the same: ON, Yes and 1 are, two paths are when they are equal."""
    words = [one.strip().upper(), other.strip().upper()]
    return one == other or (all(word in (*_OFF, *_ON) for word in words) and is_on(one) == is_on(other))


def quote(value: str) -> str:
    """`value` as an argument that CMake reads back unchanged; plain where nothing needs quoting."""
    if re.fullmatch(r"[A-Za-z0-9_./:+,=@%-]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    for letter, control in _CONTROL.items():
        escaped = escaped.replace(control, f"\\{letter}")
    return f'"{escaped}"'


def _commands(text: str) -> Iterator[Command]:
    line, depth, started = 1, 0, 1
    name = ""
    arguments: list[str] = []
    comment: list[str] = []
    blank = True  # whether nothing but spaces stands on this line so far
    for match in _TOKEN.finditer(text):
        kind = next(key for key in _KINDS if match.group(key) is not None)
        value = match.group()
        if depth:
            depth += (kind == "open") - (kind == "close")
            if depth == 0:
                yield Command(name.lower(), tuple(arguments), started, tuple(comment))
                name, comment = "", []
            elif kind in ("quoted", "word", "bracket"):
                arguments.append(_plain(kind, value, match.group("inner")))
        elif kind == "open" and _NAME.match(name):
            depth, arguments, started = 1, [], line
        elif kind == "comment" and blank:
            comment.append(value.lstrip("#").strip())
        elif kind == "newline" and blank:
            comment = []
        elif kind == "word":
            name = value
        elif kind not in ("space", "newline", "comment"):
            name = ""
        line += value.count("\n")
        blank = kind == "newline" or (blank and kind == "space")


def _plain(kind: str, value: str, inner: str | None) -> str:
    if kind == "bracket":
        return inner or ""
    body = value[1:-1] if kind == "quoted" else value
    body = body.replace("\\\n", "") if kind == "quoted" else body
    return _ESCAPE.sub(lambda found: _CONTROL.get(found.group(1), found.group(1)), body)
