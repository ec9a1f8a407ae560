"""Files as pieces of their older versions."""

from __future__ import annotations

import base64
import json
import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.stack.differences import Piece, differences

OLD = b"".join(b"line %d of the old version\n" % number for number in range(2000))


def put_together(old: bytes, pieces: list[Piece]) -> bytes:
    """What the pieces make up."""
    return b"".join(content(old, piece) for piece in pieces)


def content(old: bytes, piece: Piece) -> bytes:
    if isinstance(piece, str):
        return piece.encode("utf-8")
    if isinstance(piece, dict):
        return base64.b64decode(piece["base64"])
    return old[piece[0] : piece[0] + piece[1]]


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(OLD)), st.integers(0, 500), st.binary(max_size=60)), min_size=1, max_size=5
    )
)
def test_any_edit_comes_out_as_it_is(edits: list[tuple[int, int, bytes]]) -> None:
    new = OLD
    for place, length, text in edits:
        new = new[:place] + text + new[place + length :]
    pieces = differences(OLD, new)
    if pieces is not None:
        sent = json.loads(json.dumps(pieces))
        assert put_together(OLD, sent) == new


def test_what_is_moved_and_what_is_new() -> None:
    noise = random.Random(1).randbytes(200_000)
    new = noise[100_000:] + b"\x00new\xff" + noise[:100_000]
    pieces = differences(noise, new)
    assert pieces is not None
    assert put_together(noise, pieces) == new
    assert len(zlib.compress(json.dumps(pieces).encode())) < 300


def test_files_without_much_in_common_are_sent_as_they_are() -> None:
    generator = random.Random(2)
    assert differences(generator.randbytes(50_000), generator.randbytes(50_000)) is None
    assert differences(b"", b"new") is None
    assert differences(b"old", b"") is None
