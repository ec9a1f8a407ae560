"""Tasks that the controller takes step by step: attempts, its own modules, hosts that come while the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_runs import RunPlaybook

from tvmops.errors import ConfigError

HEAD = "- hosts: all\n  gather_facts: false\n  tasks:\n"
TWO = "all: {hosts: {h1: {number: 1}, h2: {number: 2}}, vars: {ansible_connection: local}}\n"


def test_until_that_only_the_controller_can_decide(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - shell: echo x >> {{ root }}/count; wc -l < {{ root }}/count\n      name: t\n      register: r\n"
        + "      until: \"lookup('file', root + '/count').splitlines() | length >= 3\"\n"
        + "      retries: 5\n      delay: 0\n"
    )
    assert (ran.result("t")["attempts"], ran.result("t")["stdout"]) == (3, "3")
    assert (tmp_path / "count").read_text() == "x\n" * 3


def test_attempts_that_run_out_fail_the_task(run_playbook: RunPlaybook) -> None:
    task = "    - {name: t, debug: {msg: m}, register: r, until: r is changed, retries: 2, delay: 0}\n"
    ran = run_playbook(HEAD + task)
    assert ran.statuses() == [("t", "failed")]
    assert ran.result("t")["attempts"] == 2


def test_fetch_copies_in_pieces_and_only_once(
    run_playbook: RunPlaybook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tvmops.playbook.actions.fetch.PIECE", 1000)
    (tmp_path / "big").write_bytes(bytes(range(256)) * 20)
    ran = run_playbook(
        HEAD
        + "    - {name: a, fetch: {src: '{{ root }}/big', dest: '{{ root }}/got/', flat: true}}\n"
        + "    - {name: b, fetch: {src: '{{ root }}/big', dest: '{{ root }}/got/', flat: true}}\n"
        + "    - {name: c, fetch: {src: '{{ root }}/nothing', dest: '{{ root }}/got/'}, ignore_errors: true}\n"
    )
    assert (tmp_path / "got" / "big").read_bytes() == bytes(range(256)) * 20
    assert ran.statuses() == [("a", "changed"), ("b", "ok"), ("c", "ignored")]
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["big"]


def test_script_and_raw(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: s, script: 'hello.sh one \"two words\"', environment: {WHO: me}}\n"
        + "    - {name: r, raw: 'echo $((1 + {{ number }})); exit 3', ignore_errors: true}\n"
        + "    - {name: gone, script: nothing.sh}\n",
        files={"files/hello.sh": '#!/bin/sh\necho "$WHO: $1, $2"\n'},
    )
    assert ran.result("s")["stdout"] == "me: one, two words\n"
    assert (ran.result("r")["stdout"], ran.result("r")["rc"]) == ("2\n", 3)
    assert ran.statuses()[-1] == ("gone", "failed")


def test_hosts_that_are_added_take_part_in_later_plays(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - add_host: {name: 'new', groups: [fresh], ansible_connection: local, given: '{{ number }}'}\n"
        + "    - group_by: {key: 'n{{ number }}'}\n"
        + "    - {name: mine, debug: {msg: '{{ group_names }} {{ of_group }}'}}\n"
        + "- hosts: fresh\n  gather_facts: false\n  tasks:\n    - {name: told, debug: {msg: 'given {{ given }}'}}\n"
        + "- hosts: n2\n  gather_facts: false\n  tasks:\n    - {name: second, debug: {msg: '{{ groups.n2 }}'}}\n",
        inventory=TWO,
        files={"group_vars/n1.yml": "of_group: one\n", "group_vars/n2.yml": "of_group: two\n"},
    )
    assert ran.result("mine", "h2")["msg"] == "['n2'] two"
    assert ran.result("told", "new")["msg"] == "given 1"
    assert ran.result("second", "h2")["msg"] == ["h2"]
    assert ("second", "ok") not in ran.statuses("h1")


def test_a_run_begins_with_the_task_that_was_named(run_playbook: RunPlaybook) -> None:
    text = HEAD + "".join(f"    - {{name: {name}, command: 'true'}}\n" for name in ("one", "two", "x"))
    assert [task for task, _ in run_playbook(text, start_at="t*").statuses()] == ["two", "x"]
    with pytest.raises(ConfigError, match="no task has this name"):
        run_playbook(text, start_at="tow")


def test_check_mode_and_diff_of_one_task(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - {copy: {dest: '{{ root }}/a', content: x}, check_mode: true, diff: true}\n"
        + "    - {copy: {dest: '{{ root }}/b', content: x}}\n"
    )
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()
    first, second = ran.batches["h1"][0]["tasks"]
    assert [(one["check"], one["diff"]) for one in (first, second)] == [(True, True), (False, False)]
    assert ran.batches["h1"][0]["check"] is False


def test_a_lost_host_may_be_ignored(run_playbook: RunPlaybook) -> None:
    lost = "all: {hosts: {h1: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n"
    ran = run_playbook(
        HEAD
        + "    - {name: a, command: 'true', ignore_unreachable: true}\n    - {name: b, debug: {msg: on}}\n"
        + "    - {name: c, command: 'true', ignore_unreachable: true}\n",
        inventory=lost,
    )
    assert ran.statuses() == [("a", "ignored"), ("b", "ok"), ("c", "ignored")]
    recap = ran.recap.hosts["h1"]
    assert (recap.ok, recap.ignored, recap.unreachable, ran.recap.exit_code) == (3, 2, 0, 0)
