"""Large content that a lost link cuts off: the next agent goes on with it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

from tvmops.agent.transfers import KEEP_FROM, remove_stale

CONTENT = os.urandom(3 * KEEP_FROM)
NAME = hashlib.sha256(CONTENT).hexdigest()
CUT = 2 * KEEP_FROM
RUN = {"run": "20260102-030405-ffffff", "owner": "me@here", "what": "ship.yml"}


def task(tmp_path: Path) -> dict[str, Any]:
    blob = {"sha256": NAME, "size": len(CONTENT)}
    return {"module": "copy", "args": {"dest": str(tmp_path / "f"), "src": "f", "_blob": blob}}


def cut_off(cache: Path, tmp_path: Path, content: bytes = CONTENT) -> None:
    """An agent that gets two thirds of the content; then its controller is gone."""
    with Driver(cache) as agent:
        agent.start([task(tmp_path)], **RUN)
        assert agent.wait_for("need")["have"] == 0
        piece = content[:CUT]
        agent.send({"op": "blob", "sha256": NAME, "bytes": len(piece), "last": False}, piece)
        assert agent.process.stdin
        agent.process.stdin.close()
        assert agent.process.wait(60) == 1
    assert not (tmp_path / "f").exists()
    assert (cache / "transfers" / NAME).stat().st_size == CUT


def needs(agent: Driver) -> list[int]:
    return [event["have"] for event in agent.events if event["ev"] == "need"]


def test_a_transfer_goes_on_where_it_was_cut_off(cache: Path, tmp_path: Path) -> None:
    cut_off(cache, tmp_path)
    with Driver(cache) as agent:
        agent.blobs[NAME] = CONTENT
        assert agent.batch([task(tmp_path)], **RUN)[0]["changed"]
        assert needs(agent) == [CUT]
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert not (cache / "transfers").exists()


@pytest.mark.parametrize("left", [CONTENT[: CUT - 1] + b"?", CONTENT + b"?", os.urandom(len(CONTENT))])
def test_what_was_left_is_worn(cache: Path, tmp_path: Path, left: bytes) -> None:
    """A power cut may leave anything: too much, zeros, other bytes. Then all of it is sent again."""
    other = b"x" * (KEEP_FROM + 1)
    (cache / "transfers").mkdir(parents=True)
    (cache / "transfers" / NAME).write_bytes(left)
    with Driver(cache) as agent:
        agent.blobs[NAME] = CONTENT
        args = {"dest": str(tmp_path / "g"), "src": "g", "_blob": agent.blob(other)}
        results = agent.batch([task(tmp_path), {"module": "copy", "args": args}], **RUN)
        assert [one["changed"] for one in results] == [True, True]
        assert needs(agent)[-1] == 0
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert (tmp_path / "g").read_bytes() == other


def test_content_that_came_as_a_whole_is_not_sent_again(cache: Path, tmp_path: Path) -> None:
    """The link was lost after the last piece, before the batch could begin for want of another content."""
    with Driver(cache) as agent:
        late = {"module": "copy", "args": {"dest": str(tmp_path / "g"), "src": "g", "_blob": agent.blob(b"y" * 9000)}}
        agent.start([task(tmp_path), late], **RUN)
        agent.wait_for("need")
        agent.answer(NAME, CONTENT)
        assert agent.process.stdin
        agent.process.stdin.close()
        assert agent.process.wait(60) == 1
    with Driver(cache) as agent:
        assert agent.batch([task(tmp_path)], **RUN)[0]["changed"]
        assert needs(agent) == []
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_content_of_another_sha256_is_refused_after_a_second_try(cache: Path, tmp_path: Path) -> None:
    cut_off(cache, tmp_path)
    with Driver(cache) as agent:
        agent.start([task(tmp_path)], **RUN)
        result = agent.finish(lambda _: b"wrong" * KEEP_FROM)[0]
        assert needs(agent) == [CUT, 0]
        assert "has the sha256" in result["msg"]
    assert not (cache / "transfers").exists()


def test_two_agents_that_receive_the_same_content(cache: Path, tmp_path: Path) -> None:
    """The second takes what the first has got so far: that one may have lost its controller without knowing it."""
    with Driver(cache) as first, Driver(cache) as second:
        first.start([task(tmp_path)])
        first.wait_for("need")
        first.send({"op": "blob", "sha256": NAME, "bytes": CUT, "last": False}, CONTENT[:CUT])
        while (cache / "transfers" / NAME).stat().st_size < CUT:
            time.sleep(0.05)
        (tmp_path / "two").mkdir()
        second.blobs[NAME] = CONTENT
        assert second.batch([task(tmp_path / "two")])[0]["changed"]
        assert needs(second) == [CUT]
        first.send({"op": "blob", "sha256": NAME, "bytes": len(CONTENT) - CUT, "last": True}, CONTENT[CUT:])
        assert first.finish()[0]["changed"]
    assert (tmp_path / "f").read_bytes() == (tmp_path / "two" / "f").read_bytes() == CONTENT


def test_what_an_earlier_run_left_goes_when_a_later_one_needs_it_no_more(cache: Path, tmp_path: Path) -> None:
    cut_off(cache, tmp_path)
    with Driver(cache) as agent:
        agent.task("command", {"cmd": "true"})
    assert (cache / "transfers" / NAME).exists(), "that run was not about it"
    (tmp_path / "f").write_bytes(CONTENT)
    with Driver(cache) as agent:
        assert not agent.batch([task(tmp_path)], **RUN)[0]["changed"]
        assert needs(agent) == []
    assert not (cache / "transfers").exists()


def test_what_nobody_went_on_with_is_removed(tmp_path: Path) -> None:
    for name, age in (("old", 8 * 86400), ("young", 3600)):
        (tmp_path / name).write_bytes(b"x")
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    remove_stale(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["young"]
