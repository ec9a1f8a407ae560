"""Differences between two versions of a file, as boards can put them together: pieces of the old one, and new text."""

from __future__ import annotations

import base64
import json
import zlib

BLOCK = 32  # bytes of the old version that are looked for in the new one
LARGEST = 32 * 1024 * 1024  # bytes of a file that is looked through
WORTH = 0.9  # of what the file itself takes when packed: differences must be smaller
CHUNK = 4096

# [offset, length] of the old version, a text, or {"base64": ...}
Piece = list[int] | str | dict[str, str]


def differences(old: bytes, new: bytes) -> list[Piece] | None:
    """The pieces that make up `new`; None where sending `new` itself is as good."""
    if not old or not new or max(len(old), len(new)) > LARGEST:
        return None
    pieces = _pieces(old, new)
    packed = len(zlib.compress(json.dumps(pieces).encode()))
    return pieces if packed < WORTH * len(zlib.compress(new)) else None


def _pieces(old: bytes, new: bytes) -> list[Piece]:
    places: dict[bytes, int] = {}
    for start in range(0, len(old) - BLOCK + 1, BLOCK):
        places.setdefault(old[start : start + BLOCK], start)
    pieces: list[Piece] = []
    done = at = 0
    while at <= len(new) - BLOCK:
        found = places.get(new[at : at + BLOCK])
        if found is None:
            at += 1
            continue
        back = _common_before(old, found, new, at, at - done)
        length = _common_after(old, found, new, at)
        _add_new(pieces, new[done : at - back])
        pieces.append([found - back, back + length])
        done = at = at + length
    _add_new(pieces, new[done:])
    return pieces


def _common_before(old: bytes, there: int, new: bytes, here: int, most: int) -> int:
    """How many bytes before the two places are the same."""
    count = 0
    while count < min(most, there) and old[there - count - 1] == new[here - count - 1]:
        count += 1
    return count


def _common_after(old: bytes, there: int, new: bytes, here: int) -> int:
    """How many bytes from the two places on are the same."""
    count = 0
    while (piece := old[there + count : there + count + CHUNK]) and piece == new[here + count : here + count + CHUNK]:
        count += len(piece)
    most = min(len(old) - there, len(new) - here)
    while count < most and old[there + count] == new[here + count]:
        count += 1
    return count


def _add_new(pieces: list[Piece], data: bytes) -> None:
    if not data:
        return
    try:
        pieces.append(data.decode("utf-8"))
    except UnicodeDecodeError:
        pieces.append({"base64": base64.b64encode(data).decode("ascii")})
