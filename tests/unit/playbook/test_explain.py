"""--explain foretells the batches that a run then sends, and says what each waits for."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_runs import RunPlaybook

from tvmops.fleet.run import PlaybookRun
from tvmops.inventory import load_inventory
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.state import RunOptions

HEAD = "- hosts: h1\n  gather_facts: false\n  tasks:\n"
ASK = "    - {name: ask, command: echo 3, register: text}\n"
PLAYS = {
    "nothing to wait for": [ASK, "    - {command: 'true', when: text.rc == 0}\n"],
    "one result, used three times": [
        ASK,
        *["    - {command: 'echo %(one)s {{ text.stdout }}'}\n".replace("%(one)s", one) for one in "abc"],
    ],
    "a result of the same batch, too": [
        ASK,
        "    - {copy: {dest: '{{ root }}/a', content: '{{ text.stdout }}'}, register: a}\n",
        "    - {copy: {dest: '{{ root }}/b', content: '{{ text.stdout }} {{ a.dest }}'}}\n",
        "    - {copy: {dest: '{{ root }}/c', content: '{{ a.dest }}'}}\n",
    ],
    "through a fact": [
        ASK,
        "    - {set_fact: {kept: '{{ text.stdout }}!'}}\n",
        "    - {command: 'echo {{ kept }}', register: again}\n",
        "    - {command: 'echo {{ kept }} {{ again.stdout }}'}\n",
    ],
    "a list of what nobody knows yet": [
        ASK,
        "    - {command: 'echo {{ text.stdout_lines | select | list | length }}', register: lines}\n",
    ],
    "asked again": [
        ASK,
        "    - {command: 'echo {{ text.stdout }}'}\n",
        ASK,
        "    - {command: 'echo {{ text.stdout }}'}\n",
    ],
    "a loop, a block and facts": [
        "    - setup:\n        gather_subset: [min]\n",
        "    - {command: 'echo {{ ansible_system }}'}\n",
        ASK,
        "    - {command: 'echo {{ item }}', loop: '{{ text.stdout_lines }}'}\n",
        "    - {command: 'echo {{ ansible_system }} {{ text.rc }}'}\n",
    ],
}  # fmt: skip


@pytest.mark.parametrize("tasks", PLAYS.values(), ids=PLAYS.keys())
def test_the_batches_are_those_of_the_run(tasks: list[str], run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(HEAD + "".join(tasks))
    assert ran.recap.ok
    options = RunOptions(extra_vars={"root": str(tmp_path)}, explain=True)
    inventory = load_inventory([tmp_path / "hosts.yml"], playbook_dir=tmp_path)
    plans = PlaybookRun(load_playbooks([tmp_path / "site.yml"]), inventory, options).plans
    (play,) = plans["h1"].foreseen
    assert play.sizes == [len(batch) for batch in ran.sent()]


def test_the_reason_and_the_place_are_named(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {h1: {ansible_connection: local}}}\n")
    (tmp_path / "site.yml").write_text(HEAD + ASK + "    - {name: use, command: 'echo {{ text.stdout }}'}\n")
    inventory = load_inventory([tmp_path / "hosts.yml"])
    plans = PlaybookRun(load_playbooks([tmp_path / "site.yml"]), inventory, RunOptions(explain=True)).plans
    assert plans["h1"].foreseen[0].lines()[1:] == [
        "  batch 1: 1 task",
        f"    then, before 'use' ({tmp_path}/site.yml:5:7): it needs text",
        "  batch 2: 1 task",
    ]
