"""The agent's protocol and batches, through a real agent process."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import processes
import pytest
from driver import AgentGone, Driver

from tvmops.connection.payload import agent_zipapp, build_zipapp

PYENV = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
PYTHONS = [str(path) for path in PYENV if path.parent.parent.name.split(".")[1] not in ("0", "1", "2", "3", "4")]


@pytest.mark.parametrize("python", [*PYTHONS, sys.executable])
def test_every_python_runs_a_broad_batch(python: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    source = tmp_path / "größe"
    source.write_text("x")
    subprocess.run(["tar", "-czf", archive, "-C", tmp_path, source.name], check=True)
    root = tmp_path / "root"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # no locale: as under ssh
    with Driver(tmp_path / "cache", python, env=env) as agent:
        blob = agent.blob(b"from a blob\n" * 100_000)
        tasks = [
            {"module": "file", "args": {"path": f"{root}/dü", "state": "directory", "mode": "u=rwx,go="}},
            {"module": "ansible.builtin.copy", "args": {"dest": f"{root}/ä", "content": "ö\n"}},
            {"module": "copy", "args": {"dest": f"{root}/", "src": "files/big", "_blob": blob}},
            {"module": "lineinfile", "args": {"path": f"{root}/é", "line": "zwölf", "create": True}},
            {"module": "unarchive", "args": {"src": str(archive), "dest": str(root), "remote_src": True}},
            {"module": "get_url", "args": {"url": f"file://{root}/big", "dest": f"{root}/big2"}},
            {"module": "file", "args": {"path": f"{root}/l", "src": "ä", "state": "link"}},
        ]
        first = agent.batch(tasks, diff=True)
        assert [one["changed"] for one in first] == [True] * len(tasks), first
        run = {"run": "20260102-030405-abcdef", "owner": "me@here", "what": "site.yml", "host": "b1"}
        second = agent.batch(tasks, diff=True, **run)
        assert [one["changed"] for one in second] == [False] * len(tasks), second
        looks = agent.batch(
            [
                {"module": "stat", "args": {"path": f"{root}/big2"}},
                {"module": "command", "args": {"_raw_params": f"cat {root}/l {root}/é"}},
                {"module": "shell", "args": {"_raw_params": "echo $GREETING >&2"}, "environment": {"GREETING": "hi"}},
            ]
        )
        assert looks[0]["stat"]["checksum"] == hashlib.sha1(b"from a blob\n" * 100_000).hexdigest()
        assert looks[1]["stdout_lines"] == ["ö", "zwölf"]
        assert looks[2]["stderr"] == "hi"
        assert agent.close() == 0
    assert agent.stderr == ""
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [agent.program.name]


def test_ready_says_who_and_what(agent: Driver) -> None:
    ready = agent.ready
    assert ready["protocol"] == 2
    assert (ready["uid"], ready["user"], ready["pid"]) == (os.getuid(), getpass.getuser(), agent.process.pid)
    assert ready["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_zipapp_is_the_same_bytes_each_time() -> None:
    data, sha256 = build_zipapp()
    assert build_zipapp() == agent_zipapp() == (data, sha256)
    assert hashlib.sha256(data).hexdigest() == sha256


def test_events_of_a_task_come_in_order(agent: Driver) -> None:
    agent.start([{"module": "command", "args": {"cmd": "true"}, "label": "a label"}])
    agent.finish()
    events = [(event["ev"], event.get("item", "-"), event.get("label", "-")) for event in agent.events[2:]]
    assert events == [
        ("start", None, "a label"),
        ("result", None, "a label"),
        ("done", "-", "-"),
        ("batch_end", "-", "-"),
    ]
    times = [event["t"] for event in agent.events]
    assert times == sorted(times)


def test_a_loop_runs_all_items_and_fails_if_one_failed(agent: Driver, tmp_path: Path) -> None:
    loop = [{"args": {"cmd": f"test {n} != 1"}, "label": str(n)} for n in range(3)]
    tasks = [
        {"module": "command", "args": {}, "loop": loop},
        {"module": "copy", "args": {"content": "", "dest": str(tmp_path / "never")}},
    ]
    results = agent.batch(tasks)
    assert [one["rc"] for one in results[0]["results"]] == [0, 1, 0]
    assert (results[0]["failed"], results[0]["changed"]) == (True, True)
    assert results[0]["msg"] == "One or more items failed"
    assert len(results) == 1
    assert agent.stopped_at == 1
    assert not (tmp_path / "never").exists()


def test_an_empty_loop_is_skipped(agent: Driver) -> None:
    result = agent.task("command", {}, loop=[])
    assert (result["skipped"], result["changed"], result["results"]) == (True, False, [])


def test_ignore_errors_goes_on_and_an_agent_survives_its_failures(agent: Driver) -> None:
    results = agent.batch(
        [
            {"module": "command", "args": {"cmd": "false"}, "ignore_errors": True},
            {"module": "command", "args": {"cmd": "/no/such/program"}, "ignore_errors": True},
            {"module": "command", "args": {"cmd": "true"}},
        ]
    )
    assert [one["failed"] for one in results] == [True, True, False]
    assert results[0]["msg"] == "non-zero return code"
    assert "cannot run /no/such/program: No such file" in results[1]["msg"]
    assert agent.stopped_at is None


@pytest.mark.parametrize(
    ("switches", "changed", "failed"),
    [
        ({"changed_when": False}, False, False),
        ({"failed_when": True}, True, True),
        ({"changed_when": False, "failed_when": True}, False, True),
    ],
)
def test_constant_conditions_decide(agent: Driver, switches: dict[str, Any], changed: bool, failed: bool) -> None:
    result = agent.task("command", {"cmd": "true"}, **switches)
    assert (result["changed"], result["failed"]) == (changed, failed)
    assert agent.task("command", {"cmd": "false"}, failed_when=False)["failed"] is False


def test_no_log_hides_everything_that_could_tell(agent: Driver, tmp_path: Path) -> None:
    secret = "hunter2"
    loop = [{"args": {"cmd": f"echo {secret}; sleep 0.3; echo {secret} >&2; exit 1"}, "label": secret}]
    agent.start(
        [
            {"module": "shell", "args": {}, "loop": loop, "no_log": True, "ignore_errors": True},
            {"module": "copy", "args": {"dest": str(tmp_path), "content": secret}, "no_log": True},
        ],
        diff=True,
    )
    results = agent.finish()
    assert [set(one) for one in results] == [{"changed", "failed", "results", "msg"}, {"changed", "failed", "censored"}]
    assert [one["failed"] for one in results] == [True, True]
    assert secret not in str(agent.events)


def test_wrong_arguments_fail_the_task_and_name_the_argument(agent: Driver) -> None:
    assert "'destt'" in agent.task("copy", {"destt": "/x", "content": "x"})["msg"]
    assert "whole number" in agent.task("wait_for", {"port": "ssh"})["msg"]
    assert "no module" in agent.task("cpy", {})["msg"]
    assert "runs on the controller" in agent.task("debug", {"msg": "x"})["msg"]


def test_output_of_programs_cannot_break_the_protocol(agent: Driver) -> None:
    pid = agent.process.pid
    result = agent.task("shell", {"cmd": f"echo garbage > /proc/{pid}/fd/1; cat; printf '\\377\\0'"})
    assert result["rc"] == 0
    assert result["stdout"] == "\N{REPLACEMENT CHARACTER}\0"
    assert agent.task("command", {"cmd": "true"})["rc"] == 0
    agent.close()
    assert agent.stderr == "garbage\n"


def test_a_password_that_sudo_did_not_ask_for_is_dropped_unseen(cache: Path) -> None:
    agent = Driver(cache)
    assert agent.process.stdin
    agent.process.stdin.write(b'hunter2\n"a string"\n12345\n')
    agent.process.stdin.flush()
    with agent:
        assert agent.task("command", {"cmd": "echo ok"})["stdout"] == "ok"
        assert "hunter2" not in str(agent.events)


def test_garbage_after_the_first_message_is_fatal_and_not_repeated(agent: Driver) -> None:
    agent.task("command", {"cmd": "true"})
    assert agent.process.stdin
    agent.process.stdin.write(b"hunter2 {\n")
    agent.process.stdin.flush()
    event = agent.wait_for("fatal")
    assert "not JSON" in event["msg"]
    assert "hunter2" not in event["msg"]
    assert agent.process.wait(10) == 2


def test_heartbeats_come_while_a_program_runs(agent: Driver) -> None:
    agent.task("command", {"cmd": "sleep 5.5"})
    assert "heartbeat" in [event["ev"] for event in agent.events]


def test_events_of_quick_tasks_travel_together_and_a_slow_one_is_announced(agent: Driver, tmp_path: Path) -> None:
    quick = {"module": "file", "loop": [{"args": {"path": str(tmp_path), "state": "directory"}}] * 20}
    slow = {"module": "wait_for", "args": {"path": str(tmp_path / "go"), "timeout": 60}}
    agent.start([quick, slow])
    pieces = []
    assert agent.process.stdout is not None
    while b'"task": 2' not in b"".join(pieces):
        pieces.append(os.read(agent.process.stdout.fileno(), 1 << 20))
    (tmp_path / "go").touch()  # its end is not waited for: the start alone was announced
    text = b"".join(pieces)
    assert text.count(b"\n") >= 42 > 3 * len(pieces)
    assert text.index(b'"item": 18') < text.index(b'"item": 19') < text.index(b'"ev": "done"')


def test_progress_shows_the_last_line_at_most_five_times_a_second(agent: Driver) -> None:
    started = time.monotonic()
    agent.task("shell", {"cmd": "for i in $(seq 100); do echo line $i; sleep 0.01; done"})
    seconds = time.monotonic() - started
    texts = [event["text"] for event in agent.events if event["ev"] == "progress"]
    assert 2 <= len(texts) <= 5 * seconds + 2
    assert all(text.startswith("line ") for text in texts)


def test_a_flood_of_output_is_bounded(agent: Driver) -> None:
    result = agent.task("shell", {"cmd": "echo first; yes $(seq 60) | head -c 30000000; echo; echo last"})
    assert result["stdout_lines"][0] == "first"
    assert result["stdout_lines"][-1] == "last"
    assert len(result["stdout"]) < 13_000_000
    assert "bytes left out" in result["stdout"]


def test_a_daemon_that_keeps_the_pipes_does_not_hold_the_task(agent: Driver, tmp_path: Path) -> None:
    started = time.monotonic()
    result = agent.task("shell", {"cmd": f"sleep 60 & echo $! > {tmp_path}/pid; echo done"})
    assert result["stdout"] == "done"
    assert time.monotonic() - started < 10
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_environment_lasts_for_its_task_only(agent: Driver) -> None:
    results = agent.batch(
        [
            {"module": "shell", "args": {"cmd": "echo $A$HOME"}, "environment": {"A": "1", "HOME": "/h"}},
            {"module": "shell", "args": {"cmd": "echo $A$HOME"}},
        ]
    )
    assert [one["stdout"] for one in results] == ["1/h", os.environ["HOME"]]


def test_a_lost_controller_lets_the_running_task_finish_and_no_other_start(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        tasks = [{"module": "shell", "args": {"cmd": f"sleep 1; touch {tmp_path}/{name}"}} for name in "ab"]
        agent.start(tasks)
        agent.wait_for("start")
        assert agent.process.stdin
        agent.process.stdin.close()
        assert agent.process.wait(20) == 1
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_controller_that_asks_to_end_gets_its_whole_batch(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        agent.start([{"module": "shell", "args": {"cmd": f"sleep 0.5; touch {tmp_path}/{name}"}} for name in "ab"])
        assert agent.close() == 0
    assert (tmp_path / "b").exists()


def test_hangup_finishes_the_running_task(agent: Driver, tmp_path: Path) -> None:
    agent.start([{"module": "shell", "args": {"cmd": f"sleep 1; touch {tmp_path}/{name}"}} for name in "ab"])
    agent.wait_for("start")
    agent.process.send_signal(signal.SIGHUP)
    assert agent.wait_for("done")["result"]["rc"] == 0
    with pytest.raises(AgentGone):
        while True:
            agent.next_event()
    assert not (tmp_path / "b").exists()


def test_termination_kills_the_running_program_and_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        blob = agent.blob(b"x" * 10_000)
        agent.start(
            [
                {"module": "copy", "args": {"dest": str(tmp_path / "f"), "src": "f", "_blob": blob}},
                {"module": "shell", "args": {"cmd": f"echo $$ > {tmp_path}/pid; sleep 60; true"}},
            ]
        )
        agent.answer(agent.wait_for("need")["sha256"], agent.blobs[blob["sha256"]])
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        assert any(path.name.startswith("run-") for path in cache.iterdir())
        agent.process.terminate()
        assert agent.process.wait(10) == 128 + signal.SIGTERM
    assert processes.gone(int((tmp_path / "pid").read_text()))
    assert not any(path.name.startswith(f"run-{agent.process.pid}-") for path in cache.iterdir())


def test_a_killed_run_is_cleaned_up_by_the_next(cache: Path, tmp_path: Path) -> None:
    stale = cache / "run-999999999-abc"
    stale.mkdir(parents=True)
    with Driver(cache) as agent:
        agent.task("copy", {"dest": str(tmp_path / "f"), "src": "f", "_blob": agent.blob(b"x" * 9000)})
    assert not stale.exists()


def test_blobs_come_in_pieces_and_only_when_needed(agent: Driver, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    args = {"dest": str(tmp_path / "f"), "src": "f", "_blob": agent.blob(data)}
    for changed, needs in ((True, 1), (False, 1)):
        assert agent.task("copy", args)["changed"] is changed
        assert [event["ev"] for event in agent.events].count("need") == needs
    assert (tmp_path / "f").read_bytes() == data


def test_small_blobs_travel_with_the_batch(agent: Driver, tmp_path: Path) -> None:
    blob = agent.blob(b"inline\n")
    inline = {blob["sha256"]: base64.b64encode(b"inline\n").decode()}
    args = {"dest": str(tmp_path / "f"), "src": "f", "_blob": blob}
    assert agent.batch([{"module": "copy", "args": args}], blobs=inline)[0]["changed"]
    assert "need" not in [event["ev"] for event in agent.events]


def test_a_blob_with_other_content_is_refused(agent: Driver, tmp_path: Path) -> None:
    blob = agent.blob(b"right")
    args = {"dest": str(tmp_path / "f"), "src": "f", "_blob": blob}
    agent.start([{"module": "copy", "args": args}])
    result = agent.finish(lambda _: b"wrong" * 100_000)[0]
    assert result["failed"]
    assert "sha256" in result["msg"]
    assert not (tmp_path / "f").exists()
    assert agent.task("copy", args)["changed"], "the right content is taken afterwards"


def test_a_blob_the_controller_cannot_give(agent: Driver, tmp_path: Path) -> None:
    args = {"dest": str(tmp_path / "f"), "src": "f", "_blob": {"sha256": "0" * 64, "size": 1}}
    result = agent.task("copy", args)
    assert "no such blob" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_a_blob_name_is_never_a_path(agent: Driver, tmp_path: Path) -> None:
    args = {"dest": str(tmp_path / "f"), "src": "f", "_blob": {"sha256": "../../etc/passwd", "size": 1}}
    assert "not a sha256" in agent.task("copy", args)["msg"]


def test_a_task_for_an_unknown_user_fails_clearly(agent: Driver) -> None:
    result = agent.task("command", {"cmd": "id"}, become_user="no-such-user")
    assert "cannot become 'no-such-user'" in result["msg"]
    assert agent.task("command", {"cmd": "id -un"}, become_user=getpass.getuser())["stdout"] == getpass.getuser()


def test_check_mode_of_the_batch_or_the_task_runs_no_command(agent: Driver, tmp_path: Path) -> None:
    args = {"cmd": f"touch {tmp_path}/x"}
    assert agent.task("command", args, check=True)["skipped"]
    assert agent.batch([{"module": "command", "args": args, "check": True}])[0]["skipped"]
    assert not (tmp_path / "x").exists()
    predicted = agent.task("command", {**args, "creates": f"{tmp_path}/x"}, check=True)
    assert predicted["changed"]
    assert not predicted["skipped"]


def test_a_file_larger_than_allowed_fails_clearly_and_leaves_the_old_one(cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.write_text("old")
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh"]
    with Driver(cache, prefix=limited) as agent:
        result = agent.task("copy", {"dest": str(target), "content": "x" * 200_000})
        assert "larger than this board allows" in result["msg"]
        assert agent.task("copy", {"dest": str(target), "content": "new"})["changed"]
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_all_that_a_batch_needs_is_asked_for_before_it_begins(agent: Driver, tmp_path: Path) -> None:
    contents = [os.urandom(300_000) for _ in range(3)]
    (tmp_path / "there").write_bytes(contents[2])
    blobs = [agent.blob(content) for content in contents]
    names = ["one", "two", "there"]
    tasks = [
        {"module": "copy", "args": {"dest": str(tmp_path / name), "src": "f", "_blob": blob}}
        for name, blob in zip(names, blobs, strict=True)
    ]
    loop = [{"args": {**tasks[0]["args"], "dest": str(tmp_path / "again")}, "label": "again"}]
    agent.start([*tasks, {"module": "copy", "loop": loop}])
    assert [one["changed"] for one in agent.finish()] == [True, True, False, True]
    kinds = [event["ev"] for event in agent.events]
    assert kinds[1:4] == ["need", "need", "accepted"]
    assert kinds.count("need") == 2
    assert [(tmp_path / name).read_bytes() for name in (*names, "again")] == [*contents, contents[0]]


def test_content_that_a_task_before_has_taken_away_is_asked_for_late(agent: Driver, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    (tmp_path / "f").write_bytes(content)
    tasks = [
        {"module": "shell", "args": {"cmd": f"echo other > {tmp_path}/f"}},
        {"module": "copy", "args": {"dest": f"{tmp_path}/", "src": "f", "_blob": agent.blob(content)}},
    ]
    assert [one["changed"] for one in agent.batch(tasks)] == [True, True]
    assert (tmp_path / "f").read_bytes() == content


def test_a_batch_whose_content_did_not_come_is_not_begun(cache: Path, tmp_path: Path) -> None:
    with Driver(cache) as agent:
        tasks = [
            {"module": "shell", "args": {"cmd": f"touch {tmp_path}/begun"}},
            {"module": "copy", "args": {"dest": f"{tmp_path}/f", "src": "f", "_blob": agent.blob(b"x" * 10_000)}},
        ]
        agent.start(tasks, run="20260102-030405-ffffff", owner="me@here", what="site.yml")
        agent.wait_for("need")
        assert agent.process.stdin
        agent.process.stdin.close()
        assert agent.process.wait(60) == 1
    assert not (tmp_path / "begun").exists()
    with Driver(cache) as later:
        assert later.ready["finished"] == []


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tvmops.agent import looking

    opened: list[str] = []
    real = looking.open_file
    monkeypatch.setattr(looking, "open_file", lambda path: (opened.append(path), real(path))[1])
    path = tmp_path / "f"
    path.write_bytes(b"one")
    fresh = looking.hashes(str(path), "sha256")
    monkeypatch.setattr(looking, "FRESH", -1.0)  # as if the file were old
    assert looking.hashes(str(path), "sha256") == looking.hashes(str(path), "sha256") == fresh
    assert len(opened) == 2
    assert looking.hashes(str(path), "sha1", "sha256")[1] == fresh[0]
    path.write_bytes(b"two")
    assert looking.hashes(str(path), "sha256") == [hashlib.sha256(b"two").hexdigest()]
    monkeypatch.undo()
    for content in (b"aaa", b"bbb", b"ccc"):  # written within one tick of the clock
        path.write_bytes(content)
        assert looking.hashes(str(path), "sha256") == [hashlib.sha256(content).hexdigest()]
