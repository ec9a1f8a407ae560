"""Blocks: where a run goes on after a failure, and what is as if it had not happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playbook_runs import RunPlaybook

HEAD = "- hosts: all\n  gather_facts: false\n  tasks:\n"
TWO = "all: {hosts: {h1: {number: 1}, h2: {number: 2}}, vars: {ansible_connection: local}}\n"


def test_a_failure_goes_to_rescue_and_always_and_the_play_goes_on(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - block:\n"
        + "        - {name: a, command: 'true'}\n        - {name: b, command: 'false'}\n"
        + "        - {name: c, command: 'true'}\n"
        + "      rescue:\n"
        + "        - {name: d, debug: {msg: '{{ ansible_failed_task.name }} {{ ansible_failed_result.rc }}'}}\n"
        + "      always:\n        - {name: e, command: 'true'}\n"
        + "    - {name: f, command: 'true'}\n"
    )
    assert ran.statuses() == [("a", "changed"), ("b", "rescued"), ("d", "ok"), ("e", "changed"), ("f", "changed")]
    assert ran.result("d")["msg"] == "b 1"
    recap = ran.recap.hosts["h1"]
    assert (recap.ok, recap.failed, recap.rescued, ran.recap.exit_code) == (4, 0, 1, 0)


def test_without_rescue_always_runs_and_the_host_fails(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - block:\n        - {name: a, command: 'false'}\n      always:\n        - {name: b, command: 'true'}\n"
        + "    - {name: c, command: 'true'}\n"
    )
    assert ran.statuses() == [("a", "failed"), ("b", "changed")]
    assert ran.recap.exit_code == 2


def test_a_block_that_does_not_fail_travels_in_one_batch(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - block:\n        - command: 'true'\n      rescue:\n        - command: 'false'\n"
        + "      always:\n        - command: 'true'\n    - command: 'true'\n"
    )
    assert [len(batch) for batch in ran.sent()] == [3]


def test_what_was_set_ahead_of_a_failure_is_taken_back(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - set_fact: {x: before}\n"
        + "    - block:\n"
        + "        - command: 'false'\n        - set_fact: {x: ahead, y: ahead}\n"
        + "        - {command: echo late, register: z}\n"
        + "      rescue:\n        - {name: in rescue, debug: {msg: '{{ x }} {{ y is defined }} {{ z is defined }}'}}\n"
        + "    - {name: after, debug: {msg: '{{ x }} {{ y is defined }} {{ z is defined }}'}}\n"
    )
    assert ran.result("in rescue")["msg"] == "before False False"
    assert ran.result("after")["msg"] == "before False False"


def test_an_include_behind_a_failure_is_found_out_anew(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - set_fact: {which: one}\n"
        + "    - block:\n        - {name: fails, command: 'false'}\n      rescue:\n        - set_fact: {which: two}\n"
        + "    - include_tasks: '{{ which }}.yml'\n",
        files={"one.yml": "- {name: one, command: 'true'}\n", "two.yml": "- {name: two, command: 'true'}\n"},
    )
    assert [task for task, _ in ran.statuses()][-1] == "two"
    assert [status for _, status in ran.statuses()].count("changed") == 1


def test_one_file_included_twice_has_blocks_of_its_own_each_time(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD + "    - include_tasks: inc.yml\n      loop: [1, 2]\n",
        files={
            "inc.yml": "- block:\n    - {name: 'b{{ item }}', command: 'test {{ item }} = 2'}\n"
            "  rescue:\n    - {name: 'r{{ item }}', command: 'true'}\n"
        },
    )
    shown = [one for one in ran.statuses() if one[0] != "include_tasks"]
    assert shown == [("b1", "rescued"), ("r1", "changed"), ("b2", "changed")]


def test_a_failing_handler_inside_a_block_is_rescued(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - block:\n        - {command: 'true', notify: bad}\n        - meta: flush_handlers\n"
        + "        - {name: never, command: 'true'}\n"
        + "      rescue:\n        - {name: rescue, command: 'true'}\n"
        + "  handlers:\n    - {name: bad, command: 'false'}\n    - {name: unheard, command: 'true'}\n"
    )
    assert ran.statuses() == [("command", "changed"), ("bad", "rescued"), ("rescue", "changed")]


@pytest.mark.parametrize("forced", [True, False])
def test_forced_handlers_run_on_a_failed_host(forced: bool, run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {command: 'true', notify: h}\n    - {name: fails, command: 'false'}\n"
        + "    - {name: never, command: 'true'}\n"
        + "  handlers:\n    - {name: h, command: 'true'}\n",
        force_handlers=forced,
    )
    assert ran.statuses()[1:] == [("fails", "failed"), *([("h", "changed")] if forced else [])]
    assert ran.recap.exit_code == 2


def _tree(depth: int) -> st.SearchStrategy[object]:
    leaf = st.sampled_from(["ok", "bad"])
    if depth == 0:
        return leaf
    part = st.lists(_tree(depth - 1), min_size=1, max_size=2)
    block = st.fixed_dictionaries({"block": part, "rescue": st.none() | part, "always": st.none() | part})
    return leaf | block


class _Model:
    """What Ansible's rule says about a tree of blocks: which leaves run, and whether the whole fails."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.next = 0
        self.lines: list[str] = []

    def write(self, nodes: list[object], indent: int) -> list[object]:
        """YAML for the nodes; leaves become (number, kind)."""
        pad, done = " " * indent, []
        for node in nodes:
            if isinstance(node, dict):
                parts = {}
                first = True
                for key in ("block", "rescue", "always"):
                    if node[key] is None:
                        continue
                    self.lines.append(f"{pad}{'- ' if first else '  '}{key}:")
                    first = False
                    parts[key] = self.write(node[key], indent + 4)
                done.append(parts)
            else:
                command = "'true'" if node == "ok" else "'false'"
                self.lines.append(f"{pad}- {{name: t{self.next}, command: {command}}}")
                done.append((self.next, node))
                self.next += 1
        return done

    def run(self, nodes: list[object]) -> bool:
        """True when all went well."""
        for node in nodes:
            if isinstance(node, tuple):
                self.ran.append(node[0])
                if node[1] == "bad":
                    return False
                continue
            assert isinstance(node, dict)
            well = self.run(node["block"])
            if not well and "rescue" in node:
                well = self.run(node["rescue"])
            if "always" in node:
                well = self.run(node["always"]) and well
            if not well:
                return False
        return True


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nodes=st.lists(_tree(3), min_size=1, max_size=2))
def test_any_tree_of_blocks_runs_by_the_rule(nodes: list[object], run_playbook: RunPlaybook) -> None:
    model = _Model()
    tree = model.write(nodes, 4)
    well = model.run(tree)
    ran = run_playbook(HEAD + "\n".join(model.lines) + "\n")
    assert [int(task[1:]) for task, _ in ran.statuses()] == model.ran
    assert ran.recap.exit_code == (0 if well else 2)


def test_blocks_that_fail_on_one_host_do_not_touch_the_others(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - block:\n        - {name: a, command: 'test {{ number }} = 1'}\n      rescue:\n"
        + "        - {name: r, command: 'touch {{ root }}/rescued-{{ number }}'}\n",
        inventory=TWO,
    )
    assert ran.statuses("h1") == [("a", "changed")]
    assert ran.statuses("h2") == [("a", "rescued"), ("r", "changed")]
    assert sorted(path.name for path in tmp_path.glob("rescued-*")) == ["rescued-2"]
