"""Ansible's host patterns: names, groups, globs, ~regex, unions, ! and &, slices."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Mapping, Sequence

_SLICE = re.compile(r"^(?P<base>.+)\[(?:(?P<index>-?\d+)|(?P<start>\d*)[:-](?P<stop>\d*))\]$")


class UnknownName(Exception):
    """A term matches neither a host nor a group."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class BadPattern(Exception):
    """The pattern is not well formed."""


def split(pattern: str) -> list[str]:
    """The terms of a pattern: `,` always separates, `:` does where it is no slice and no IPv6 address."""
    if "," in pattern:
        return [term.strip() for term in pattern.split(",") if term.strip()]
    if _is_address(pattern):
        return [pattern]
    terms = re.split(r":(?![^\[]*\])", pattern)
    return [term.strip() for term in terms if term.strip()]


def _is_address(text: str) -> bool:
    # By Python's own rules: `b1:a1:b2` has the letters of an IPv6 address and is none.
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def evaluate(pattern: str, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Host names in inventory order. Raises UnknownName or BadPattern."""
    terms = split(pattern)
    if not terms:
        raise BadPattern("it is empty")
    unions = [term for term in terms if term[0] not in "!&"]
    chosen = set[str]() if unions else set(hosts)
    for term in unions:
        chosen |= set(_term(term, hosts, groups))
    for term in terms:
        if term[0] == "&":
            chosen &= set(_term(term[1:], hosts, groups))
    for term in terms:
        if term[0] == "!":
            chosen -= set(_term(term[1:], hosts, groups))
    return [host for host in hosts if host in chosen]


def _term(term: str, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if not term:
        raise BadPattern("'!' and '&' need a name after them")
    if term.startswith("~"):
        return _by_regex(term[1:], hosts, groups)
    if term in groups:
        return groups[term]
    if term in hosts:
        return [term]
    sliced = _SLICE.match(term)
    if sliced:
        return _slice(sliced, _term(sliced["base"], hosts, groups), term)
    if any(character in term for character in "*?["):
        found = [name for name in hosts if fnmatch.fnmatchcase(name, term)]
        for name, members in groups.items():
            if fnmatch.fnmatchcase(name, term):
                found.extend(members)
        if found:
            return found
    raise UnknownName(term)


def _by_regex(text: str, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    try:
        regex = re.compile(text)
    except re.error as error:
        raise BadPattern(f"'~{text}' is not a regular expression: {error}") from None
    found = [name for name in hosts if regex.match(name)]
    for name, members in groups.items():
        if regex.match(name):
            found.extend(members)
    if not found:
        raise UnknownName(f"~{text}")
    return found


def _slice(match: re.Match[str], members: Sequence[str], term: str) -> Sequence[str]:
    if match["index"] is not None:
        try:
            return [members[int(match["index"])]]
        except IndexError:
            raise BadPattern(f"'{term}': the group has {len(members)} hosts") from None
    start = int(match["start"] or 0)
    # Ansible's slices include their last element.
    stop = int(match["stop"]) + 1 if match["stop"] else len(members)
    return members[start:stop]
