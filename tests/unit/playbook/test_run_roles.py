"""Roles, include_vars and handlers' names in real runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playbook_runs import RunPlaybook

from tvmops.errors import ConfigError

HEAD = "- hosts: all\n  gather_facts: false\n"


@pytest.fixture(autouse=True)
def no_roles_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", str(tmp_path / "elsewhere"))


def write_line(name: str, text: str) -> str:
    return f"- copy: {{dest: '{{{{ root }}}}/{name}', content: {json.dumps(text)}}}\n"


def test_variables_of_a_role_are_seen_by_the_rest_of_the_play(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    run_playbook(
        HEAD
        + "  pre_tasks:\n    "
        + write_line("before", "{{ d }} {{ v }}")
        + "  roles: [one, two]\n  tasks:\n    "
        + write_line("after", "{{ d }} {{ v }} {{ p | default(0) }}"),
        files={
            "roles/one/defaults/main.yml": "d: one\n",
            "roles/one/vars/main.yml": "v: one\n",
            "roles/two/defaults/main.yml": "d: two\n",
            "roles/two/vars/main.yml": "v: two\n",
            "roles/one/tasks/main.yml": write_line("in-one", "{{ d }} {{ v }}"),
        },
    )
    assert (tmp_path / "before").read_text() == "two two"
    assert (tmp_path / "after").read_text() == "two two 0"
    assert (tmp_path / "in-one").read_text() == "one one"


def test_variables_of_an_included_role_are_its_own(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    run_playbook(
        HEAD
        + "  tasks:\n    - include_role: {name: one}\n    "
        + write_line("private", "{{ d | default('none') }}")
        + "    - include_role: {name: one, public: true}\n"
        + "    "
        + write_line("public", "{{ d | default('none') }}"),
        files={"roles/one/defaults/main.yml": "d: one\n", "roles/one/tasks/main.yml": write_line("x", "{{ d }}")},
    )
    assert (tmp_path / "private").read_text() == "none"
    assert (tmp_path / "public").read_text() == "one"


@pytest.mark.parametrize(("first", "runs"), [("{role: a, when: false}", 1), ("{role: a, when: true}", 1), ("b", 1)])
def test_a_dependency_runs_once(run_playbook: RunPlaybook, tmp_path: Path, first: str, runs: int) -> None:
    run_playbook(
        HEAD + f"  roles: [{first}, b, b]\n",
        files={
            "roles/a/meta/main.yml": "dependencies: [base]\n",
            "roles/b/meta/main.yml": "dependencies: [base]\n",
            "roles/base/tasks/main.yml": "- shell: echo x >> {{ root }}/count\n",
        },
    )
    assert (tmp_path / "count").read_text() == "x\n" * runs


def test_the_files_of_a_role_come_first(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    run_playbook(
        HEAD + "  roles: [web]\n  tasks:\n    - copy: {src: a.txt, dest: '{{ root }}/of-the-play'}\n",
        files={
            "roles/web/tasks/main.yml": "- copy: {src: a.txt, dest: '{{ root }}/of-the-role'}\n"
            "- template: {src: t.j2, dest: '{{ root }}/template'}\n"
            "- copy: {dest: '{{ root }}/looked-up', content: \"{{ lookup('file', 'files/a.txt') }}\"}\n",
            "roles/web/files/a.txt": "role",
            "roles/web/templates/t.j2": "{% include 'part.j2' %}",
            "roles/web/templates/part.j2": "part {{ role_name }}",
            "files/a.txt": "play",
            "templates/t.j2": "play",
        },
    )
    read = {name: (tmp_path / name).read_text() for name in ("of-the-role", "of-the-play", "template", "looked-up")}
    assert read == {"of-the-role": "role", "of-the-play": "play", "template": "part web", "looked-up": "role"}


def test_which_handlers_a_name_means(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    note = "  shell: echo {} >> {{{{ root }}}}/handlers\n"
    run_playbook(
        HEAD
        + "  roles: [web]\n  tasks:\n"
        + "    - {command: 'true', notify: [same, 'web : only in the role', topic]}\n"
        + "    - include_role: {name: late}\n      loop: [1, 2]\n"
        + "  handlers:\n    - name: same\n    "
        + note.format("first")
        + "    - name: same\n    "
        + note.format("second")
        + "    - name: listens\n      listen: topic\n    "
        + note.format("play"),
        files={
            "roles/web/handlers/main.yml": "- name: same\n" + note.format("web") + "- name: only in the role\n"
            + note.format("role") + "- name: listens\n  listen: topic\n" + note.format("web"),
            "roles/late/tasks/main.yml": "- {command: 'true', notify: of late}\n",
            "roles/late/handlers/main.yml": "- name: of late\n" + note.format("late {{ item }}"),
        },
    )  # fmt: skip
    assert (tmp_path / "handlers").read_text() == "role\nfirst\nplay\nlate 2\n"


INCLUDE_VARS = {
    "a file": ("include_vars: extra.yml", {"vars/extra.yml": "a: 1\nb: '{{ a }}!'\n"}, "{{ a }} {{ b }}", "1 1!"),
    "a name": (
        "include_vars: {file: x.yml, name: box}",
        {"x.yml": "a: 1\n"},
        "{{ box.a }} {{ a | default(0) }}",
        "1 0",
    ),
    "free text": ("include_vars: file=x.yml name=box", {"x.yml": "a: 1\n"}, "{{ box.a }}", "1"),
    "a folder": (
        "include_vars: {dir: many, ignore_files: [^skip.yml], extensions: [yml, json]}",
        {
            "many/1.yml": "a: 1\nb: 1\n",
            "many/2.json": '{"b": 2}',
            "many/sub/3.yml": "c: 3\n",
            "many/skip.yml": "a: 9\n",
        },
        "{{ a }} {{ b }} {{ c }}",
        "1 2 3",
    ),
    "a folder's depth": (
        "include_vars: {dir: many, depth: 1, files_matching: '[0-9]'}",
        {"many/1.yml": "a: 1\n", "many/x.yml": "a: 2\n", "many/sub/3.yml": "c: 3\n"},
        "{{ a }} {{ c | default(0) }}",
        "1 0",
    ),
    "a loop": (
        "include_vars: '{{ item }}.yml'\n      loop: [one, two]",
        {"one.yml": "a: 1\nb: '{{ a }}'\n", "two.yml": "a: 2\n"},
        "{{ a }} {{ b }}",
        "2 2",
    ),
    "an empty file": ("include_vars: extra.yml", {"extra.yml": ""}, "{{ a | default('none') }}", "none"),
    "merging": (
        "include_vars: {file: x.yml, hash_behaviour: merge}",
        {"x.yml": "box: {b: 2}\n", "group_vars/all.yml": "box: {a: 1, b: 1}\n"},
        "{{ box.a }} {{ box.b }}",
        "1 2",
    ),
    "other suffixes": (
        "include_vars: {dir: many, ignore_unknown_extensions: true}",
        {"many/1.yml": "a: 1\n", "many/readme.txt": "x"},
        "{{ a }}",
        "1",
    ),
}


@pytest.mark.parametrize("case", INCLUDE_VARS)
def test_include_vars(run_playbook: RunPlaybook, tmp_path: Path, case: str) -> None:
    task, files, text, expected = INCLUDE_VARS[case]
    run_playbook(HEAD + f"  tasks:\n    - {task}\n    " + write_line("seen", text), files=files)
    assert (tmp_path / "seen").read_text() == expected


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("include_vars: none.yml", "cannot find 'none.yml'"),
        ("include_vars: list.yml", "list.yml:1:1: a file of variables is a mapping, not a list"),
        ("include_vars: {dir: none}", "does not exist"),
        ("include_vars: {dir: many}", "readme.txt' does not end in one of yaml, yml, json"),
        ("include_vars: {dir: many, files_matching: '('}", "'files_matching' is not a regular expression"),
        ("include_vars: {file: list.yml, depth: 1}", "'depth' goes with 'dir', not with a file"),
    ],
)
def test_include_vars_that_fail(run_playbook: RunPlaybook, task: str, message: str) -> None:
    ran = run_playbook(
        HEAD + f"  tasks:\n    - {task}\n",
        files={"list.yml": "- 1\n", "many/readme.txt": "x"},
    )
    results = [event.result for event in ran.events if event.kind == "task" and event.status == "failed"]
    assert len(results) == 1
    assert message in str((results[0] or {}).get("msg"))


def test_a_variable_of_an_included_file_names_its_place(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD + "  tasks:\n    - include_vars: x.yml\n    - debug: {msg: '{{ a }}'}\n",
        files={"x.yml": "b: 1\na: '{{ nowhere }}'\n"},
    )
    messages = [str(event.result) for event in ran.events if event.kind == "task" and event.status == "failed"]
    assert len(messages) == 1
    assert f"{tmp_path}/x.yml:2:8: 'nowhere' is undefined" in messages[0]


def test_an_undefined_variable_in_a_role_is_found_before_anything_runs(
    run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"tasks/main\.yml:1:20: 'nowhere' is undefined"):
        run_playbook(HEAD + "  roles: [web]\n", files={"roles/web/tasks/main.yml": "- debug: {msg: '{{ nowhere }}'}\n"})


def test_what_an_unknown_include_sets_counts_for_the_tasks_after_it(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    run_playbook(
        HEAD
        + "  vars: {v: weak}\n  tasks:\n    - {command: echo set, register: r}\n"
        + "    - include_tasks: '{{ r.stdout }}.yml'\n    "
        + write_line("seen", "{{ v }}"),
        files={"set.yml": "- set_fact: {v: strong}\n"},
    )
    assert (tmp_path / "seen").read_text() == "strong"


def test_what_a_handler_sets_counts_for_the_tasks_after_it(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    run_playbook(
        HEAD
        + "  vars: {v: weak}\n  pre_tasks:\n    - {command: 'true', notify: h}\n"
        + "  handlers:\n    - {name: h, set_fact: {v: strong}}\n  tasks:\n    "
        + write_line("seen", "{{ v }}")
    )
    assert (tmp_path / "seen").read_text() == "strong"


FAR_AWAY = "all:\n  hosts:\n    h1: {ansible_host: 192.0.2.1}\n"


@pytest.mark.parametrize("task", ["copy: {src: none.txt, dest: /x}", "template: {src: none.txt, dest: /x}"])
def test_a_file_to_send_that_is_not_there_is_found_before_a_board_is_touched(
    run_playbook: RunPlaybook, task: str
) -> None:
    with pytest.raises(ConfigError, match=r"site\.yml:4:7: cannot find 'none\.txt'"):
        run_playbook(HEAD + f"  tasks:\n    - {task}\n", inventory=FAR_AWAY)


@pytest.mark.parametrize("keywords", ["when: false", "ignore_errors: true\n      when: a_fact is undefined"])
def test_but_only_where_it_would_be_sent(run_playbook: RunPlaybook, keywords: str) -> None:
    ran = run_playbook(
        HEAD + "  tasks:\n    - copy: {src: none.txt, dest: /x}\n      " + keywords + "\n    - debug:\n",
        inventory=FAR_AWAY,
    )
    assert [status for _, status in ran.statuses()] in (["skipped", "ok"], ["ignored", "ok"])


def test_a_handler_that_another_notifies_before_its_turn_runs_once(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    note = "shell: echo {} >> {{{{ root }}}}/handlers"
    run_playbook(
        HEAD
        + "  tasks:\n    - {command: 'true', notify: [zero, one, two]}\n    - meta: flush_handlers\n"
        + "    - shell: echo after >> {{ root }}/handlers\n"
        + "  handlers:\n    - name: zero\n      "
        + note.format("zero")
        + "\n    - name: one\n      notify: [two, zero]\n      "
        + note.format("one")
        + "\n    - name: two\n      "
        + note.format("two")
        + "\n"
    )
    assert (tmp_path / "handlers").read_text().split() == ["zero", "one", "two", "after", "zero"]


def test_the_handlers_of_an_include_that_is_not_reached_do_not_count(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    run_playbook(
        HEAD
        + "  tasks:\n    - block:\n        - {command: 'true', notify: h}\n        - command: 'false'\n"
        + "        - include_role: {name: late}\n      rescue:\n        - debug:\n"
        + "  handlers:\n    - name: h\n      shell: echo play >> {{ root }}/handlers\n",
        files={
            "roles/late/tasks/main.yml": "- command: 'true'\n",
            "roles/late/handlers/main.yml": "- name: h\n  shell: echo late >> {{ root }}/handlers\n",
        },
    )
    assert (tmp_path / "handlers").read_text() == "play\n"


def test_a_role_is_not_over_while_one_of_its_tasks_is_rescued(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD + "  roles: [once, once]\n",
        files={
            "roles/once/tasks/main.yml": "- block:\n    - command: 'false'\n  rescue:\n"
            "    - shell: echo rescued >> {{ root }}/seen\n  always:\n    - shell: echo always >> {{ root }}/seen\n"
        },
    )
    assert (tmp_path / "seen").read_text().split() == ["rescued", "always"]
    assert not ran.recap.hosts["h1"].failed


def test_a_result_stays_when_a_later_task_of_that_name_is_not_reached(
    run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    run_playbook(
        HEAD
        + "  tasks:\n    - {command: echo one, register: r}\n    - block:\n        - command: 'false'\n"
        + "        - {command: echo two, register: r}\n      rescue:\n        "
        + write_line("seen", "{{ r.stdout }}")
    )
    assert (tmp_path / "seen").read_text() == "one"


def test_a_role_that_was_included_counts_where_duplicates_are_not_allowed(
    run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    run_playbook(
        HEAD
        + "  tasks:\n    - include_role: {name: one}\n    - include_role: {name: one}\n"
        + "    - import_role: {name: one, allow_duplicates: false}\n",
        files={"roles/one/tasks/main.yml": "- shell: echo x >> {{ root }}/count\n"},
    )
    assert (tmp_path / "count").read_text() == "x\nx\n"


def test_a_handler_that_fails_ends_the_handlers_even_where_they_are_forced(
    run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    run_playbook(
        HEAD
        + "  force_handlers: true\n  tasks:\n    - {command: 'true', notify: topic}\n"
        + "  handlers:\n    - {name: one, command: 'false', listen: topic}\n"
        + "    - {name: two, shell: 'echo x >> {{ root }}/count', listen: topic}\n"
    )
    assert not (tmp_path / "count").exists()
