"""Many hosts at once: who blocks whom, what is shown, how a run ends."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tvmops.cli.extra_vars import parse_extra_vars
from tvmops.errors import ConfigError
from tvmops.fleet.console import JsonView, PlainView
from tvmops.fleet.diffs import diff_text
from tvmops.fleet.live import LiveView
from tvmops.fleet.recap import Recap, recap_lines
from tvmops.fleet.run import run_playbook
from tvmops.inventory import load_inventory
from tvmops.playbook.events import HostRecap, RunEvent
from tvmops.playbook.state import RunOptions

PLAYBOOK = """
- name: the play
  hosts: all
  gather_facts: false
  tasks:
    - name: say [it]
      debug: {msg: "hello {{ inventory_hostname }}"}
    - name: write
      copy: {dest: "{{ root }}/{{ inventory_hostname }}", content: "new\\n"}
    - name: loop
      command: test {{ item }} != bad
      loop: "{{ items }}"
"""


def run(folder: Path, listeners: list[Any], hosts: dict[str, Any], text: str = PLAYBOOK, **options: Any) -> Recap:
    (folder / "site.yml").write_text(text)
    variables = {"root": str(folder), "items": ["a"]}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    return run_playbook([folder / "site.yml"], load_inventory([folder / "hosts.yml"]), RunOptions(**options), listeners)


LOCAL = {"ansible_connection": "local"}


def test_plain_lines_diffs_and_recap(tmp_path: Path) -> None:
    out = io.StringIO()
    recap = run(tmp_path, [PlainView(out, diff=True)], {"one": LOCAL}, diff=True)
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["one: play the play", "one: say [it] ... ok", "    hello one"]
    assert "one: write ... changed" in lines
    assert "+new" in lines
    assert lines[lines.index("one: loop (a) ... changed") + 1] == "one: loop ... changed"
    counted = "one                        : ok=3    changed=2    unreachable=0    failed=0    skipped=0    "
    assert any(line.startswith(counted) for line in lines)
    assert recap.exit_code == 0


def test_a_failure_names_host_task_place_and_the_end_of_stderr(tmp_path: Path) -> None:
    out = io.StringIO()
    text = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: bad, shell: 'echo why >&2; exit 7'}\n"
    recap = run(tmp_path, [PlainView(out, quiet=True)], {"one": LOCAL}, text)
    shown = out.getvalue()
    assert f"one: FAILED: bad\n  at {tmp_path}/site.yml:4:7\n" in shown
    assert "  stderr:\n    why\n" in shown
    assert f"record: {recap.folder}" in shown
    assert recap.exit_code == 2


def test_json_is_one_event_per_line(tmp_path: Path) -> None:
    out = io.StringIO()
    run(tmp_path, [JsonView(out)], {"one": {**LOCAL, "items": ["a", "bad"]}, "two": LOCAL})
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[0] == {"event": "begin", "hosts": {"one": 3, "two": 3}}
    assert events[-1]["event"] == "recap"
    assert events[-1]["exit_code"] == 2
    assert events[-1]["hosts"]["one"]["failed"] == 1
    assert events[-1]["hosts"]["two"] == dict.fromkeys(events[-1]["hosts"]["two"], 0) | {"ok": 3, "changed": 2}
    items = [(one["label"], one["status"]) for one in events if one["event"] == "item" and one["host"] == "one"]
    assert items == [("a", "changed"), ("bad", "failed")]


def test_the_live_view_has_a_line_per_host_and_leaves_the_recap(tmp_path: Path) -> None:
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30, color_system=None)
    run(tmp_path, [LiveView(console)], {"one": {**LOCAL, "items": ["bad"]}, "two": LOCAL})
    shown = out.getvalue()
    assert "one: hello one" in shown
    assert "one: FAILED: loop (bad)" in shown
    assert "PLAY RECAP" in shown
    last = shown[: shown.index("PLAY RECAP")].splitlines()[-4:]
    assert any("one" in line and "failed" in line for line in last)
    assert any("two" in line and "3/3" in line and "changed" in line for line in last)


def test_hosts_that_cannot_be_reached_block_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hosts = {
            "mute": {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_ssh_timeout": 3},
            "closed": {"ansible_host": "127.0.0.1", "ansible_port": 1},
            "fine": LOCAL,
        }
        out = io.StringIO()
        ended: list[str] = []

        class Watch(PlainView):
            def event(self, event: RunEvent) -> None:
                super().event(event)
                if event.kind == "host":
                    ended.append(event.host)

        recap = run(tmp_path, [Watch(out)], hosts, forks=3)
    assert recap.exit_code == 4
    assert {name: one.unreachable for name, one in recap.hosts.items()} == {"mute": 1, "closed": 1, "fine": 0}
    assert recap.hosts["fine"].ok == 3
    assert ended[-1] == "mute"
    assert "mute: UNREACHABLE: " in out.getvalue()
    assert recap.hosts["mute"].seconds < 60


def test_no_more_hosts_at_once_than_forks(tmp_path: Path) -> None:
    running: set[str] = set()
    most: list[int] = []

    class Watch(PlainView):
        def event(self, event: RunEvent) -> None:
            if event.kind == "play":
                running.add(event.host)
                most.append(len(running))
            if event.kind == "host":
                running.discard(event.host)

    recap = run(tmp_path, [Watch(io.StringIO())], {f"h{number}": LOCAL for number in range(5)}, forks=2)
    assert recap.ok
    assert len(recap.hosts) == 5
    assert max(most) <= 2


def test_limit_must_leave_something(tmp_path: Path) -> None:
    recap = run(tmp_path, [], {"one": LOCAL, "two": LOCAL}, limit="two")
    assert list(recap.hosts) == ["two"]
    with pytest.raises(ConfigError, match="no host or group matches 'three'"):
        run(tmp_path, [], {"one": LOCAL}, limit="three")


SLOW = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: quick, command: "true"}
    - {name: slow, shell: "touch {{ root }}/begun; sleep SECONDS; touch {{ root }}/done"}
    - {name: after, command: "touch {{ root }}/after"}
"""
MAIN = "from tvmops.cli.provision import COMMANDS; from invoke import Collection, Program; "
MAIN += "ns = Collection(); [ns.add_task(one) for one in COMMANDS]; Program(namespace=ns).run()"


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    (folder / "slow.yml").write_text(SLOW.replace("SECONDS", str(seconds)))
    (folder / "hosts.yml").write_text("all: {hosts: {one: {ansible_connection: local}}}\n")
    argv = [sys.executable, "-c", MAIN, "playbook", "slow.yml", "-i", "hosts.yml", "-e", f"root={folder}"]
    env = {**os.environ, "TVMOPS_STATE": str(folder / "state")}
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    wait_until((folder / "begun").exists)
    return process


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def test_ctrl_c_lets_the_running_task_finish_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path, 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: hosts finish the task they are at" in err
    assert (tmp_path / "done").exists()
    assert not (tmp_path / "after").exists()
    assert f"one: interrupted after 'slow' ({'slow.yml'}:6:7)" in out
    assert "ok=2 " in out
    assert "run the same command again to go on" in out


def test_a_second_ctrl_c_leaves_at_once_and_the_host_still_finishes_its_task(tmp_path: Path) -> None:
    process = start(tmp_path, 9)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=8)
    assert process.returncode == 130
    assert "one: interrupted at 'slow'" in out
    assert "PLAY RECAP" in out
    assert not (tmp_path / "done").exists()
    wait_until((tmp_path / "done").exists)
    time.sleep(0.3)
    assert not (tmp_path / "after").exists()


def test_ctrl_c_before_anything_has_begun(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        timer = threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        port = silent.getsockname()[1]
        mute = {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_ssh_timeout": 2}
        hosts = {"mute": mute, "later": LOCAL}
        recap = run(tmp_path, [], hosts, forks=1)
        timer.join()
    assert recap.exit_code == 130
    assert recap.hosts["later"].interrupted
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a=1 b='two words'"], {"a": "1", "b": "two words"}),
        (['{"a": [1, 2]}', "a=3"], {"a": "3"}),
        (["{a: {b: true}}"], {"a": {"b": True}}),
    ],
)
def test_extra_vars(given: list[str], expected: dict[str, Any]) -> None:
    assert parse_extra_vars(given) == expected


@pytest.mark.parametrize(
    "given", ["novalue", "[1]", "a='open", "@/nonexistent.yml", "{a: ", "ansible_become_password=x"]
)
def test_extra_vars_that_cannot_be_read(given: str) -> None:
    with pytest.raises(ConfigError):
        parse_extra_vars([given])


def test_extra_vars_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("a: {b: 1}\n")
    assert parse_extra_vars([f"@{tmp_path}/x.yml"]) == {"a": {"b": 1}}
    (tmp_path / "x.yml").write_text("ansible_become_password: secret\n")
    assert parse_extra_vars([f"@{tmp_path}/x.yml"]) == {"ansible_become_password": "secret"}


def test_diffs_are_patches() -> None:
    text = diff_text({"diff": [{"before": "a\nb\n", "after": "a\nc", "before_header": "/f", "after_header": "/f"}]})
    assert text == "--- before: /f\n+++ after: /f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"


def test_recap_lines_are_ansibles() -> None:
    line = recap_lines([HostRecap("board", ok=10, changed=2, skipped=1)])[0]
    assert line.rstrip() == (
        "board                      : ok=10   changed=2    unreachable=0    failed=0    "
        "skipped=1    rescued=0    ignored=0"
    )


def test_a_recap_fits_a_narrow_terminal() -> None:
    recaps = [HostRecap("board", ok=10, changed=2, skipped=1), HostRecap("longer-name", failed=1)]
    lines = recap_lines(recaps, width=80)
    assert lines[0] == "board       : ok=10 changed=2 unreachable=0 failed=0 skipped=1"
    assert all(len(line) <= 80 for line in lines)
    assert recap_lines(recaps, width=200) == recap_lines(recaps)


def test_labels_are_short_enough_to_read(tmp_path: Path) -> None:
    text = "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: 'false'\n      loop:\n"
    text += "        - {name: " + "x" * 100 + ", other: 1}\n"
    out = io.StringIO()
    run(tmp_path, [PlainView(out)], {"one": LOCAL}, text)
    shown = [line for line in out.getvalue().splitlines() if "{'name': 'xx" in line]
    assert len(shown) == 2
    assert all("…)" in line and len(line) < 100 for line in shown)
