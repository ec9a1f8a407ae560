"""What a run leaves on the board: its events, kept before they are sent, and found by the next agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
from driver import AgentGone, Driver

TAG = {"run": "20260102-030405-abcdef", "owner": "me@here", "what": "site.yml", "host": "b1"}
SECONDS = 60.0


def shell(command: str, **more: Any) -> dict[str, Any]:
    return {"module": "shell", "args": {"cmd": command}, "name": command[:40], "at": "site.yml:1:1", **more}


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def runs(cache: Path) -> Path:
    return cache.parent / "state" / "runs"


def spool(cache: Path, run: str = TAG["run"]) -> Path:
    return runs(cache) / run / "events.jsonl"


def lose(agent: Driver) -> None:
    """The controller is gone once the batch was accepted, and with it whoever read."""
    agent.wait_for("accepted")
    assert agent.process.stdin and agent.process.stdout
    agent.process.stdin.close()
    agent.process.stdout.close()
    agent.process.wait(SECONDS)


def followed(agent: Driver, run: str = TAG["run"]) -> list[dict[str, Any]]:
    agent.send({"op": "follow", "run": run})
    events = []
    while (event := agent.next_event())["ev"] != "follow_end":
        if event["ev"] == "followed":
            events.append(event["event"])
    return events


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_events_are_kept_for_a_controller_that_went_away(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        tasks = [shell(f"sleep 0.2; echo {name}; touch {tmp_path}/{name}") for name in "abc"]
        agent.start(tasks, **TAG)
        lose(agent)
        assert agent.process.returncode == 1
    assert (tmp_path / "c").exists()
    with Driver(cache) as later:
        (left,) = later.ready["finished"]
        assert {key: left[key] for key in TAG} == TAG
        assert (left["tasks"], left["changed"], left["failed"]) == (3, 3, 0)
        assert (left["complete"], left["stopped_at"], left["restarted"]) == (True, None, False)
        events = followed(later)
        assert [one["result"]["stdout"] for one in events if one["ev"] == "done"] == ["a", "b", "c"]
        assert events[0]["tasks"][0] == [1, tasks[0]["name"], "site.yml:1:1", "shell"]
        later.send({"op": "forget", "run": TAG["run"]})
        later.wait_for("forgotten")
    with Driver(cache) as last:
        assert last.ready["finished"] == []


def test_what_was_delivered_is_not_kept(cache: Path) -> None:
    with Driver(cache) as agent:
        agent.batch([{"module": "stat", "args": {"path": "/"}}], **TAG)
        assert spool(cache).exists()
    assert not (runs(cache) / TAG["run"]).exists()


def test_a_batch_without_a_name_leaves_nothing_and_asks_nobody(cache: Path) -> None:
    with Driver(cache) as agent, Driver(cache) as second:
        agent.batch([shell("true")], **TAG)
        second.batch([shell("true")])
        assert [event["kept"] for event in second.events if event["ev"] == "accepted"] == [False]
    assert not spool(cache).exists()


def test_a_failed_task_and_what_was_running_are_named(cache: Path) -> None:
    with Driver(cache) as agent:
        agent.start([shell("true"), shell("exit 3", name="breaks")], **TAG)
        lose(agent)
    with Driver(cache) as later:
        (left,) = later.ready["finished"]
        assert (left["tasks"], left["failed"], left["stopped_at"]) == (2, 1, "breaks")


def test_an_agent_that_was_killed_leaves_what_it_did(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        agent.start([shell("echo one"), shell(f"touch {tmp_path}/begun; exec sleep 600", name="long")], **TAG)
        until((tmp_path / "begun").exists)
        until(lambda: spool(cache).read_bytes().count(b'"ev": "start"') == 2)
        children = processes.tree(agent.process.pid)[1:]
        agent.process.kill()
        agent.process.wait(SECONDS)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
    with Driver(cache) as later:
        assert later.ready["lease"] is None
        (left,) = later.ready["finished"]
        assert (left["tasks"], left["complete"], left["running"], left["ago"]) == (1, False, "long", None)


def test_a_half_written_last_line_is_overlooked(cache: Path) -> None:
    with Driver(cache) as agent:
        agent.start([shell("echo one")], **TAG)
        lose(agent)
    whole = spool(cache).read_bytes()
    for cut in (1, 20, len(whole.splitlines(True)[-1]) + 5):
        spool(cache).write_bytes(whole[:-cut])
        with Driver(cache) as later:
            assert later.ready["finished"][0]["tasks"] == 1
            assert [one["result"]["stdout"] for one in followed(later) if one["ev"] == "done"] == ["one"]
    spool(cache).write_bytes(b"\0" * 4096)
    with Driver(cache) as later:
        assert later.ready["finished"][0]["tasks"] == 0
        assert followed(later) == []


def test_a_link_that_takes_nothing_does_not_hold_the_batch(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        big = "head -c 3000000 /dev/zero | tr '\\0' x"
        tasks = [shell(big) for _ in range(4)]
        agent.start([*tasks, shell(f"touch {tmp_path}/end")], **TAG)
        until((tmp_path / "end").exists)  # nobody has read a byte since "ready"
        until(lambda: b'"batch_end"' in spool(cache).read_bytes()[-500:])
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        results = agent.finish()
        assert [len(one["stdout"]) for one in results[:4]] == [3_000_000] * 4
        assert agent.close() == 0
    assert int(status.partition("VmHWM:")[2].split()[0]) < 120_000  # kB; such outputs as text and JSON, a few times
    assert not spool(cache).exists()


def test_no_log_is_censored_in_the_spool_and_whole_on_the_wire(cache: Path) -> None:
    loop = [{"args": {"cmd": "echo hunter2"}, "label": "hunter2"}]
    tasks = [
        shell("echo hunter2; sleep 0.5; echo hunter2", name="hidden", secret=True),
        shell("", name="hidden", args={}, loop=loop, secret=True),
        shell("echo hunter2", name="never shown", no_log=True),
        shell("echo hunter2; exit 1", name="fails", secret=True, ignore_errors=True),
        shell("sleep 0.1", name="open"),
    ]
    with Driver(cache) as agent:
        agent.start(tasks, **TAG)
        results = agent.finish()
        assert results[0]["stdout"] == "hunter2\nhunter2"
        text = spool(cache).read_text()
        assert "hunter2" not in text
        kept = [json.loads(line) for line in text.splitlines()]
    done = [event["result"] for event in kept if event["ev"] == "done"]
    assert [(one["changed"], one["failed"], "censored" in one) for one in done] == [
        (True, False, True),
        (True, False, True),
        (True, False, True),
        (True, True, True),
        (True, False, False),
    ]


def test_a_full_disk_does_not_stop_a_batch(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        raise AssertionError("this test needs root, to mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        env = {"PATH": os.environ["PATH"], "TVMOPS_AGENT_STATE": str(disk / "state")}
        with Driver(tmp_path / "cache", env=env) as agent:
            fill = shell(f"head -c 1000000 /dev/zero > {disk}/fill; head -c 10000 /dev/zero | tr '\\0' x")
            results = agent.batch([fill, shell("echo on"), shell(f"rm {disk}/fill"), shell("echo end")], **TAG)
            assert [one["rc"] for one in results] == [0, 0, 0, 0]
            assert len(results[0]["stdout"]) == 10_000
            agent.start([shell("echo again")], **TAG)
            lose(agent)
        with Driver(tmp_path / "cache", env=env) as later:
            assert later.ready["finished"][0]["tasks"] == 5
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_place_that_cannot_be_written_to_does_not_stop_a_batch(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = {**os.environ, "TVMOPS_AGENT_STATE": str(tmp_path / "file" / "state")}
    with Driver(tmp_path / "cache", env=env) as agent:
        assert agent.batch([shell("echo done")], **TAG)[0]["stdout"] == "done"
        assert [event["kept"] for event in agent.events if event["ev"] == "accepted"] == [False]


def test_only_the_last_runs_are_kept(cache: Path) -> None:
    for number in range(14):
        folder = runs(cache) / f"old-{number:02}"
        folder.mkdir(parents=True)
        (folder / "journal").mkdir()
        os.utime(folder, (1e9 - number, 1e9 - number))  # the board's clock was set back in between
    with Driver(cache) as agent:
        agent.start([shell("true")], **TAG)
        lose(agent)
    assert sorted(path.name for path in runs(cache).iterdir()) == [TAG["run"], *(f"old-{n:02}" for n in range(5, 14))]


def test_kept_runs_have_a_limited_size(cache: Path) -> None:
    for number in range(4):
        folder = runs(cache) / f"old-{number}" / "journal"
        folder.mkdir(parents=True)
        with (folder / "big").open("wb") as file:
            file.truncate(90 * 1024 * 1024)
    with Driver(cache) as agent:
        agent.start([shell("true")], **TAG)
        lose(agent)
    assert sorted(path.name for path in runs(cache).iterdir()) == [TAG["run"], "old-2", "old-3"]


def test_a_run_that_is_going_on_is_not_cleaned_away(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent, Driver(cache) as second:
        gate = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
        agent.start([shell(gate)], **TAG)
        until((tmp_path / "begun").exists)
        second.send({"op": "forget", "run": TAG["run"]})
        second.wait_for("forgotten")
        assert spool(cache).exists()
        (tmp_path / "go").touch()
        agent.finish()


def test_sigterm_kills_the_task_and_keeps_what_was_done(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        agent.start([shell("echo one"), shell(f"touch {tmp_path}/begun; exec sleep 600")], **TAG)
        until((tmp_path / "begun").exists)
        agent.process.terminate()
        assert agent.process.wait(SECONDS) == 128 + signal.SIGTERM
    with Driver(cache) as later:
        assert later.ready["finished"][0]["tasks"] == 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_hangup_is_a_lost_link_and_ctrl_c_a_wish_to_end(cache: Path, tmp_path: Path, number: int) -> None:
    with Driver(cache) as agent:
        gate = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
        agent.start([shell(gate), shell(f"touch {tmp_path}/second")], **TAG)
        until((tmp_path / "begun").exists)
        agent.process.send_signal(number)
        time.sleep(0.2)
        (tmp_path / "go").touch()
        with pytest.raises(AgentGone):
            while True:
                agent.next_event()
        assert agent.process.wait(SECONDS) == 1
    assert (tmp_path / "second").exists() is (number == signal.SIGHUP)
