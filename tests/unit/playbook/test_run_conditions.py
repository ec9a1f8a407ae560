"""Conditions over results: what the board decides needs no batch of its own, and comes to the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playbook_runs import RunPlaybook

HEAD = "- hosts: all\n  gather_facts: false\n  vars: {number: 2, yes_word: true}\n  tasks:\n"
FIRST = """\
    - {shell: 'echo hello err >&2; echo out; exit 3', register: x, failed_when: false}
    - shell: echo {{ item }}
      loop: [a, b, c]
      loop_control: {index_var: at}
      register: many
      when: item != 'b'
      changed_when: item == 'a'
    - {command: 'true', register: quiet, changed_when: false}
    - {command: 'true', register: left_out, when: x.rc == 0}
    - {command: 'false', register: broken, ignore_errors: true}
"""


def batches(ran: Any) -> list[int]:
    return [len(batch) for batch in ran.sent()]


CONDITIONS = {
    "x is changed": True,
    "x.rc != 0": True,
    "x is failed": False,
    "'err' in x.stderr and x.stdout == 'out'": True,
    "quiet is changed or left_out is changed": False,
    "left_out is skipped and left_out.skip_reason == 'Conditional result was False'": True,
    "left_out.false_condition == 'x.rc == 0'": True,
    "broken is failed and broken.rc == 1": True,
    "many is changed and many.skipped is false and many.msg == 'All items completed'": True,
    "many.results | map(attribute='item') | join == 'abc'": True,
    "many.results | map(attribute='at') | list == [0, 1, 2]": True,
    "many.results | selectattr('stdout', 'defined') | map(attribute='stdout') | list == ['a', 'c']": True,
    "many.results[1] is skipped and many.results[1].false_condition == \"item != 'b'\"": True,
    "many.results | selectattr('changed') | list | length == number - 1": True,
    "many.results | map('length') | list == [16, 8, 16] and x | length == 13": True,
    "x.stdout_lines[0] is match('o') and x.attempts is not defined": True,
    "yes_word or x.nothing": True,
    "not yes_word and x.nothing": False,
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_board_decides_what_needs_nothing_from_here(condition: str, run_playbook: RunPlaybook) -> None:
    # In brackets a condition is worked out twice, which only the controller does.
    here = json.dumps(f"{{{{ yes_word and ({condition}) }}}}")
    ran = run_playbook(
        HEAD
        + FIRST
        + f"    - {{name: there, command: 'true', when: {json.dumps(condition)}}}\n"
        + f"    - {{name: here, command: 'true', when: {here}}}\n"
    )
    holds = CONDITIONS[condition]
    assert dict(ran.statuses())["there"] == dict(ran.statuses())["here"] == ("changed" if holds else "skipped")
    if "yes_word" not in condition:
        assert batches(ran) == ([6, 1] if holds else [6])


@pytest.mark.parametrize(
    ("tasks", "sent"),
    [
        ("{command: 'true', when: r is changed, register: s}\n    - {command: 'true', when: s is changed}", [3]),
        ("{command: 'echo {{ item }}', loop: [1, 2], when: r.rc == 0 and item == 1}", [2]),
        ("{shell: 'echo {{item}}', loop: [1], register: s}\n    - {command: 'true', when: 's.results[0].rc==0'}", [3]),
        ("{command: 'true', register: s, until: s.rc == r.rc, retries: 2}\n    - command: 'true'", [3]),
        ("{command: 'true', register: s, failed_when: \"'err' in s.stderr\"}\n    - command: 'true'", [3]),
        ("{command: 'true', register: s, failed_when: [s.rc != 0, number == 2]}\n    - command: 'true'", [3]),
        ("{command: 'true', changed_when: r.rc == 1}\n    - command: 'true'", [3]),
        ("{command: 'true', when: r.rc == 0, become: true, become_user: root}", [2]),
        ("{command: 'echo {{ r.rc }}', when: r is changed}", [1, 1]),
        ("{debug: {msg: x}, when: r is changed}", [2]),
        ("{debug: {msg: '{{ r.rc }}'}, when: r is changed}", [1]),
        ("{fail: {msg: x}, when: r is failed}\n    - command: 'true'", [3]),
        ("{set_fact: {x: 1}, when: r is changed}\n    - {command: 'true', when: x == 1}", [1, 1]),
        ("{command: 'true', when: '{{ r is changed }}'}", [1, 1]),
        ("{command: 'true', when: 'r.results | default([1]) | sum == 1'}", [1, 1]),
        ("{command: 'true', when: \"(lookup('env', 'NOTHING') == r.stdout)\"}", [1, 1]),
        ("{command: 'true', until: \"s.stdout | regex_replace('a*', '') == ''\", register: s}", [1, 1]),
    ],
)  # fmt: skip
def test_batches_end_only_where_they_must(tasks: str, sent: list[int], run_playbook: RunPlaybook) -> None:
    ran = run_playbook(f"{HEAD}    - {{command: 'true', register: r}}\n    - {tasks}\n")
    assert batches(ran) == sent
    assert ran.recap.ok


def test_a_condition_at_fault_fails_the_task_and_names_itself(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {command: 'true', register: r}\n"
        + "    - {name: bad, command: 'true', when: r.nothing == 1, failed_when: false}\n"
        + "    - {name: never, command: 'true'}\n"
    )
    assert ran.statuses() == [("command", "changed"), ("bad", "failed")]
    assert "'r.nothing == 1'" in ran.result("bad")["msg"]
    assert not ran.recap.ok


def test_faults_of_a_task_that_does_not_run_are_none(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {command: 'true', register: r}\n"
        + "    - {name: skipped, command: 'echo {{ nowhere }}', when: r is failed}\n"
        + "    - {name: bad, command: 'echo {{ nowhere }}', when: r is changed, ignore_errors: true}\n"
        + "    - {name: last, command: 'true', when: number == 3 or r is changed}\n"
        + "    - {name: known false, command: 'echo {{ nowhere }}', when: [r is changed, number == 3]}\n"
    )
    statuses = ["changed", "skipped", "ignored", "changed", "skipped"]
    assert [status for _, status in ran.statuses()] == statuses
    assert "'nowhere' is undefined" in ran.result("bad")["msg"]
    assert ran.result("known false")["false_condition"] == "number == 3"
    assert batches(ran) == [5]


def test_items_see_the_result_of_the_item_before(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - shell: exit {{ item }}\n      loop: [1, 0, 1, 0]\n      register: r\n"
        + "      when: r is not defined or r is failed\n      ignore_errors: true\n"
        + "    - {name: after, command: 'true', when: \"r.results | select('skipped') | list | length == 2\"}\n"
    )
    assert [(bool(one.get("skipped")), one.get("rc")) for one in ran.result("shell")["results"]] == [
        (False, 1), (False, 0), (True, None), (True, None),
    ]  # fmt: skip
    assert ran.statuses()[1] == ("after", "changed")
    assert batches(ran) == [2]


def test_attempts_are_made_on_the_board(run_playbook: RunPlaybook, tmp_path: Any) -> None:
    place = tmp_path / "tries"
    ran = run_playbook(
        HEAD
        + f"    - {{name: goes, shell: 'echo x >> {place}; wc -l < {place}', register: r, until: r.stdout | int == 3,"
        + " retries: 5, delay: 0}\n"
        + "    - {name: fails, command: 'false', retries: 2, delay: 0, ignore_errors: true}\n"
        + "    - {name: after, command: 'true', when: r.attempts == 3}\n"
    )
    assert ran.statuses() == [("goes", "changed"), ("fails", "ignored"), ("after", "changed")]
    assert ran.result("goes")["attempts"] == 3
    assert ran.result("fails")["attempts"] == 2
    assert batches(ran) == [3]


def test_verdicts_are_made_once(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: a, shell: exit 3, register: r, failed_when: r is failed and r.rc != 3,"
        + " changed_when: r is failed}\n"
        + "    - {name: b, command: echo err, register: r, failed_when: \"'err' in r.stdout\", ignore_errors: true}\n"
        + "    - {name: c, command: 'echo {{ item }}', loop: [1, 2], register: r,"
        + " changed_when: r.stdout == '2' and item == 2}\n"
        + "    - {name: d, command: 'true', when: \"r.results | map(attribute='changed') | list == [false, true]\"}\n"
        + "    - {name: e, shell: sleep 600, timeout: 1, failed_when: false}\n"
    )
    assert ran.statuses() == [("a", "changed"), ("b", "ignored"), ("c", "changed"), ("d", "changed"), ("e", "failed")]
    assert ran.result("a")["failed_when_result"] is False
    assert ran.result("b")["failed_when_result"] is True
    assert [one["changed"] for one in ran.result("c")["results"]] == [False, True]
    assert batches(ran) == [5]


def test_results_of_a_failed_batch_are_not_counted_on(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - block:\n"
        "        - {command: 'true', register: r}\n"
        "        - {command: 'false', when: r is changed}\n"
        "        - {command: 'true', register: s}\n"
        "      rescue:\n"
        "        - {name: rescue, command: 'true', when: r is changed and s is not defined}\n"
        "      always:\n"
        "        - {name: always, command: 'true', when: r is changed and s is not defined}\n"
    )
    assert ran.statuses()[-2:] == [("rescue", "changed"), ("always", "changed")]


def test_handlers_come_after_what_the_board_decided(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - {command: 'true', register: r}\n"
        "    - {command: 'true', when: r is changed, notify: one}\n"
        "    - {command: 'true', when: r is failed, notify: two}\n"
        "    - {command: 'true', register: s, changed_when: s.rc == 1, notify: two}\n"
        "  handlers:\n"
        "    - {name: one, command: 'true'}\n"
        "    - {name: two, command: 'true'}\n"
    )
    assert [name for name, _ in ran.statuses()] == ["command"] * 4 + ["one"]
    assert batches(ran) == [4, 1]


def test_a_preview_does_not_fail_for_want_of_results(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {command: 'true', register: r, until: r.stdout == 'up', retries: 50, delay: 1000}\n"
        + "    - {command: 'true', when: 'r.rc == 0 and r.stdout_lines == [] and r is skipped', register: s}\n"
        + "    - {command: 'true', when: s.rc != 0, changed_when: s.stdout == '', failed_when: s.rc == 1}\n"
        + "    - {command: 'true', until: \"s.stdout | regex_replace('a', '') == 'x'\", retries: 50, delay: 1000}\n",
        check=True,
    )
    assert ran.recap.ok
    assert {status for _, status in ran.statuses()} == {"skipped"}


def test_debug_and_fail_wait_for_nothing_but_their_condition(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {command: 'true', register: r}\n"
        + "    - {name: shown, debug: {msg: 'number {{ number }}'}, when: r is changed, register: said}\n"
        + "    - {name: items, debug: {var: item}, loop: [1, 2, 3], when: item != 2 and (item == 1 or r is failed)}\n"
        + "    - {name: not this, fail: {msg: never}, when: r is failed}\n"
        + "    - {name: after, command: 'true', when: said.msg == 'number 2' and said is not changed}\n"
        + "    - {name: bad, fail: {msg: 'number {{ number }} it is'}, when: r.rc == 0}\n"
        + "    - {name: never, command: 'true'}\n"
    )
    assert ran.statuses() == [
        ("command", "changed"), ("shown", "ok"), ("items", "ok"), ("not this", "skipped"), ("after", "changed"),
        ("bad", "failed"),
    ]  # fmt: skip
    assert ran.result("shown")["msg"] == "number 2"
    assert [bool(one.get("skipped")) for one in ran.result("items")["results"]] == [False, True, True]
    assert ran.result("bad")["msg"] == "number 2 it is"
    assert batches(ran) == [7]
