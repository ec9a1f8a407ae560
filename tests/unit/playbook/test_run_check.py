"""A check run says what only a real run can tell, and neither guesses nor fails for want of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_runs import Ran, RunPlaybook

HEAD = "- hosts: h1\n  gather_facts: false\n  tasks:\n    - {name: ask, command: echo 3, register: text}\n"


def unknown(ran: Ran) -> list[str]:
    """Titles of the tasks whose doings nobody knows."""
    return [one.task for one in ran.events if one.kind == "task" and (one.result or {}).get("unknown")]


@pytest.mark.parametrize(
    "task",
    [
        "{name: use, copy: {dest: '{{ root }}/a', content: '{{ text.stdout }}'}}",
        "{name: use, copy: {dest: '{{ root }}/no/{{ text.stdout }}/a', content: x}}",
        "{name: use, copy: {dest: '{{ root }}/a', content: '{{ (text.stdout | from_json).key }}'}}",
        "{name: use, assert: {that: text.stdout | int == 3}}",
        "{name: use, command: echo, loop: '{{ text.stdout_lines }}'}",
        "{name: use, command: echo, loop: '{{ text.stdout | from_json }}'}",
        "{name: use, command: echo, when: (text.stdout | from_json).key == 1}",
        "{name: use, file: {path: '{{ kept }}', state: absent}, vars: {kept: '/no/{{ text.stdout }}'}}",
    ],
)
def test_what_needs_a_commands_output_is_unknown(task: str, run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(HEAD + f"    - {task}\n    - {{command: 'true'}}\n", check=True)
    assert ran.recap.ok
    assert unknown(ran) == ["use"]
    assert "needs text, which only a real run can tell" in str(ran.result("use"))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "text", ["{{ text.stdout }}", "{{ (text.stdout | from_json).key }}", "{{ text.stdout | default('no', true) }}"]
)
def test_a_template_that_reads_it_is_unknown(text: str, run_playbook: RunPlaybook, tmp_path: Path) -> None:
    (tmp_path / "its.j2").write_text(f"one {text}\n")
    task = f"{{name: use, template: {{src: '{tmp_path}/its.j2', dest: '{{{{ root }}}}/a'}}}}"
    ran = run_playbook(HEAD + f"    - {task}\n", check=True)
    assert ran.recap.ok
    assert unknown(ran) == ["use"]
    assert "needs text, which only a real run can tell" in str(ran.result("use"))


def test_a_fact_made_of_it_is_unknown_until_it_is_set_anew(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {set_fact: {kept: '{{ text.stdout }}', other: 1}}\n"
        + "    - {name: use, copy: {dest: '{{ root }}/a', content: '{{ kept }}'}}\n"
        + "    - {set_fact: {kept: certain}}\n"
        + "    - {name: certain, copy: {dest: '{{ root }}/a', content: '{{ kept }}'}}\n",
        check=True,
    )
    assert ran.recap.ok
    assert unknown(ran) == ["use"]
    assert [status for name, status in ran.statuses() if name == "certain"] == ["changed"]


def test_what_really_ran_is_known(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: really, command: echo 4, register: real, check_mode: false}\n"
        + "    - {name: use, copy: {dest: '{{ root }}/a', content: '{{ real.stdout }}'}}\n",
        check=True,
    )
    assert ran.recap.ok
    assert unknown(ran) == []
    assert not (tmp_path / "a").exists()


def test_a_task_that_runs_for_real_takes_what_a_checked_one_gave(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n"
        "    - {command: echo 3, register: text, check_mode: true}\n"
        "    - {copy: {dest: '{{ root }}/a', content: 'it was {{ text.stdout }}'}}\n"
    )
    assert ran.recap.ok
    assert (tmp_path / "a").read_text() == "it was "
