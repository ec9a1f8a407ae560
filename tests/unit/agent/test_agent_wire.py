"""Laws of the wire: what is emitted while the link takes nothing arrives whole and in order, and lies in the spool."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.agent import protocol
from tvmops.agent.protocol import Wire
from tvmops.agent.spool import Spool

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "progress", "result", "done", "need", "batch_end"]),
        st.integers(1, 3),
        st.sampled_from([0, 1, 1000, 65_400, 70_000, 300_000, 600_000]),
    ),
    max_size=12,
)


class Link:
    """A wire whose other end is read when the test says so."""

    def __init__(self) -> None:
        self.to_agent, self.from_agent = os.pipe(), os.pipe()
        self.wire = Wire(self.to_agent[0], self.from_agent[1])
        self.wire.start()

    def read_lines(self, count: int, seconds: float = 60.0) -> list[dict[str, Any]]:
        """So many events that are no heartbeats."""
        found: list[dict[str, Any]] = []
        rest = b""
        end = time.monotonic() + seconds
        while len(found) < count:
            assert time.monotonic() < end
            *lines, rest = (rest + os.read(self.from_agent[0], 1 << 16)).split(b"\n")
            found += [event for event in map(json.loads, lines) if event["ev"] != "heartbeat"]
        assert rest == b""
        return found

    def close(self) -> None:
        os.close(self.to_agent[1])
        os.close(self.from_agent[0])


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.booleans())
def test_nothing_is_lost_or_mixed_on_a_link_that_was_stuck(events: list[tuple[str, int, int]], kept: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        link = Link()
        if kept:
            link.wire.spool = Spool(folder)
            link.wire.spool.begin({"run": "r", "tasks": []}, frozenset({3}))
        sent = []
        for number, (kind, task, size) in enumerate(events):
            values = {"task": task, "number": number, "result": {"changed": True, "stdout": "ä" * (size // 2)}}
            link.wire.emit(kind, **values)
            sent.append((kind, values))
        received = link.read_lines(len(sent))
        assert [
            (one["ev"], {key: one[key] for key in values}) for one, (_, values) in zip(received, sent, strict=True)
        ] == sent
        if kept:
            spooled = [json.loads(line) for line in (Path(folder) / "events.jsonl").read_bytes().splitlines()]
            wanted = [one for one in received if one["ev"] in protocol.SPOOLED and one["ev"] != "progress"]
            there = [one for one in spooled if one["ev"] not in ("batch", "tally", "progress")]
            assert [one["ev"] for one in there] == [one["ev"] for one in wanted]
            for one, other in zip(there, wanted, strict=True):
                assert one == other if other["task"] != 3 else "censored" in one["result"]
            spool = link.wire.take_spool()
            spool.close(delivered=True)
        link.close()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_messages_arrive_however_they_are_cut(noise: list[bytes], cuts: list[int]) -> None:
    link = Link()
    messages = [{"op": "batch", "id": number, "text": "ö" * number} for number in range(3)]
    lines = [line.replace(b"\n", b"").replace(b"{", b"(") + b"\n" for line in noise]  # what a login shell may say
    lines += [json.dumps(one).encode() + b"\n" for one in ({"op": "alive"}, *messages, {"op": "end"})]
    data = b"".join(lines)
    position = 0
    while position < len(data):
        step = cuts[position % len(cuts)]
        os.write(link.to_agent[1], data[position : position + step])
        position += step
    got = [link.wire.receive(timeout=60) for _ in range(4)]
    assert got == [*messages, {"op": "end"}]
    assert not link.wire.gone
    link.close()


def test_who_emits_more_than_memory_holds_waits_for_a_slow_link_without_a_spool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "UNSENT_LIMIT", 200_000)
    link = Link()
    done = threading.Event()

    def emit() -> None:
        for number in range(20):
            link.wire.emit("result", number=number, text="x" * 50_000)
        done.set()

    threading.Thread(target=emit, daemon=True).start()
    assert not done.wait(0.5)
    assert [one["number"] for one in link.read_lines(20)] == list(range(20))
    assert done.wait(60)
    link.close()


def test_a_link_that_is_dead_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNSENT_LIMIT", 200_000)
    link = Link()
    thread = threading.Thread(
        target=lambda: [link.wire.emit("result", text="x" * 50_000) for _ in range(20)], daemon=True
    )
    thread.start()
    time.sleep(0.2)
    link.close()
    thread.join(60)
    assert not thread.is_alive()
    assert link.wire.gone
    assert link.wire.receive(timeout=60) is None


def test_a_batch_that_begins_while_the_sender_writes_the_one_before(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    lines, errors, ended = 3000, [], threading.Event()

    def send() -> None:
        try:
            while not ended.is_set():
                spool.flush()
        except BaseException as error:
            errors.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(lines):
        spool.begin({"id": number, "run": "r", "tasks": []}, frozenset())
    ended.set()
    sender.join()
    spool.flush()
    assert errors == []
    assert [json.loads(line)["id"] for line in Path(spool.path).read_text().splitlines()] == list(range(lines))
    spool.close(delivered=True)
