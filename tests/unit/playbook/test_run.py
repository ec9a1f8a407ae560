"""Where batches break, in which order things happen, and what a run says about it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest
from playbook_runs import RunPlaybook

from tvmops.errors import ConfigError, ConfigErrors

TWO_HOSTS = "all: {hosts: {h1: {mine: one}, h2: {mine: two}}, vars: {ansible_connection: local}}\n"
RUN_R = "    - {command: 'true', register: r}\n"
HEAD = "- hosts: all\n  gather_facts: false\n  tasks:\n"


def test_tasks_that_need_nothing_from_the_board_travel_together(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - command: echo {{ number }}\n"
        + "    - debug: {msg: between}\n"
        + "    - set_fact: {x: '{{ number + 1 }}'}\n"
        + "    - command: echo {{ item }}\n      loop: ['{{ x }}', b]\n"
        + "    - command: /bin/false\n      when: x == 3\n"
        + "    - shell: echo {{ x }}\n"
    )
    assert ran.sent() == [["command", "command", "shell"]]
    loop = ran.batches["h1"][0]["tasks"][1]["loop"]
    assert [step["args"]["_raw_params"] for step in loop] == ["echo 2", "echo b"]
    assert [status for _, status in ran.statuses()] == ["changed", "ok", "ok", "changed", "skipped", "changed"]


@pytest.mark.parametrize(
    ("tasks", "batches"),
    [
        ("    - {command: 'true', register: r}\n    - debug: {var: r.rc}\n    - command: 'true'\n", [1, 1]),
        ("    - {command: 'true', register: r}\n    - {command: 'true', when: r is changed}\n", [2]),
        ("    - {command: 'true', register: r}\n    - command: 'true'\n    - command: echo {{ r.rc }}\n", [2, 1]),
        ("    - {command: 'true', register: r, failed_when: r.rc == 1}\n    - command: 'true'\n", [2]),
        ("    - {command: 'true', register: r, changed_when: r.rc == 1}\n    - command: 'true'\n", [2]),
        ("    - {command: 'true', register: r, changed_when: false}\n    - command: 'true'\n", [2]),
        ("    - {command: 'true', changed_when: number == 2}\n    - command: 'true'\n", [2]),
        ("    - {command: 'true', register: r, when: false}\n    - command: echo {{ r is skipped }}\n", [1]),
        ("    - setup:\n    - command: 'true'\n    - command: echo {{ ansible_system }}\n", [2, 1]),
        ("    - setup:\n    - command: echo {{ ansible_connection }}\n", [2]),
        (
            "    - {command: 'true', register: r}\n    - set_fact: {x: '{{ r.rc }}'}\n    - command: echo {{ x }}\n",
            [1, 1],
        ),
        (
            "    - {command: 'true', register: r}\n    - command: echo {{ r2 }}\n      vars: {r2: '{{ r.rc }}'}\n",
            [1, 1],
        ),
        ("    - command: 'true'\n    - assert: {that: number == 1}\n    - command: 'true'\n", [2]),
    ],
)
def test_batch_boundaries(tasks: str, batches: list[int], run_playbook: RunPlaybook) -> None:
    ran = run_playbook(HEAD + tasks)
    assert [len(batch) for batch in ran.sent()] == batches
    assert ran.recap.ok


def test_facts_start_a_play_and_wait_for_nobody(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        "- hosts: all\n  tasks:\n    - command: 'true'\n    - debug: {msg: '{{ ansible_facts.system }}'}\n"
    )
    assert ran.sent() == [["setup", "command"]]
    assert ran.statuses() == [("Gathering Facts", "ok"), ("command", "changed"), ("debug", "ok")]
    assert ran.result("debug")["msg"] == "Linux"


def test_constant_verdicts_travel_and_others_are_made_here(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: a, command: 'false', failed_when: false, changed_when: true}\n"
        + "    - {name: b, shell: exit 3, register: r, failed_when: [r.rc != 3, r.rc > 5], changed_when: r.rc == 3}\n"
        + "    - {name: c, command: 'true', register: r, changed_when: r.nothing}\n"
    )
    first = ran.batches["h1"][0]["tasks"][0]
    assert (first["failed_when"], first["changed_when"]) == (False, True)
    assert ran.statuses() == [("a", "changed"), ("b", "changed"), ("c", "failed")]
    assert "no key or attribute 'nothing'" in str(ran.result("c")["msg"])


def test_registered_loops_have_ansibles_shape(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - shell: test {{ item }} != b\n      loop: [a, b, c]\n      when: item != 'a'\n      register: r\n"
        + "      ignore_errors: true\n"
        + "    - debug: {msg: '{{ r }}'}\n"
    )
    result = ran.result("debug")["msg"]
    assert [one["item"] for one in result["results"]] == ["a", "b", "c"]
    assert [bool(one.get("skipped")) for one in result["results"]] == [True, False, False]
    assert [bool(one.get("failed")) for one in result["results"]] == [False, True, False]
    assert (result["failed"], result["changed"], result["skipped"]) == (True, True, False)
    assert result["results"][0]["false_condition"] == "item != 'a'"
    assert result["results"][1]["rc"] == 1
    items = [(one.label, one.status) for one in ran.events if one.kind == "item"]
    assert items == [("a", "skipped"), ("b", "ignored"), ("c", "changed")]


def test_a_failed_host_stops_and_its_handlers_do_not_run(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: changes, command: 'true', notify: later}\n"
        + "    - {name: fails, shell: 'echo out; echo err >&2; exit 3'}\n"
        + "    - {name: never, command: 'touch {{ root }}/never'}\n"
        + "  handlers:\n    - {name: later, command: 'touch {{ root }}/handler'}\n"
        + HEAD
        + "    - {name: second play, command: 'touch {{ root }}/never'}\n"
    )
    assert ran.statuses() == [("changes", "changed"), ("fails", "failed")]
    assert not (tmp_path / "never").exists()
    assert not (tmp_path / "handler").exists()
    recap = ran.recap.hosts["h1"]
    assert (recap.task, recap.failed, ran.recap.exit_code) == ("fails", 1, 2)
    assert recap.position.endswith("site.yml:5:7")
    assert (ran.result("fails")["rc"], ran.result("fails")["stderr"]) == (3, "err")


def test_handlers_run_once_in_their_own_order_and_only_when_something_changed(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - {command: 'true', notify: [two, one]}\n"
        + "    - {command: 'true', notify: two}\n"
        + "    - {command: 'true', notify: three, changed_when: false}\n"
        + "    - {command: 'true', notify: 'fo{{ \"ur\" }}', when: false}\n"
        + "  handlers:\n"
        + "    - {name: one, command: 'true'}\n    - {name: two, command: 'true', notify: five}\n"
        + "    - {name: three, command: 'true'}\n    - {name: four, command: 'true'}\n"
        + "    - {name: five, command: 'true', when: number == 2}\n"
    )
    handlers = [(one.task, one.status) for one in ran.events if one.kind == "task" and one.handler]
    assert handlers == [("one", "changed"), ("two", "changed"), ("five", "skipped")]


def test_includes_are_decided_per_host(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD + "    - include_tasks: 'on-{{ inventory_hostname }}.yml'\n"
        "    - include_tasks: {file: 'on-{{ r.stdout }}.yml'}\n"
        "      loop: [x, y]\n      vars: {given: '{{ item }}!'}\n",
        inventory="all:\n  hosts:\n    h1: {ansible_connection: local}\n    h2: {ansible_connection: local}\n",
        files={
            "on-h1.yml": "- {name: one, command: echo h2, register: r}\n- debug: {msg: '{{ given | default(0) }}'}\n",
            "on-h2.yml": "- {name: two, command: echo h1, register: r}\n- debug: {msg: '{{ given | default(0) }}'}\n",
        },
    )
    included = ["include_tasks", "include_tasks"]
    first = ["include_tasks", "one", "debug", *included, "two", "debug", "two", "debug"]
    assert [task for task, _ in ran.statuses("h1")] == first
    shown = [one.result["msg"] for one in ran.events if one.task == "debug" and one.kind == "task" and one.host == "h1"]
    assert shown == [0, "x!", "y!"]


def test_an_include_that_cannot_be_read_fails_its_host(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD + "    - {command: echo bad, register: r}\n    - include_tasks: '{{ r.stdout }}.yml'\n",
        files={"bad.yml": "- nope: 1\n- command: '{{ x | nope }}'\n"},
    )
    assert ran.statuses()[-1] == ("include_tasks", "failed")
    message = str(ran.result("include_tasks")["msg"])
    assert "bad.yml:1:3: there is no module 'nope'" in message
    assert "bad.yml:2:20: template: there is no filter 'nope'" in message


def test_certain_faults_are_found_before_anything_runs(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        run_playbook(
            HEAD
            + "    - command: touch {{ root }}/ran\n"
            + "    - command: echo {{ nmber }}\n"
            + "    - {command: 'true', register: r}\n"
            + "    - command: echo {{ r.rc }} {{ defined_later }}\n"
            + "    - command: echo {{ elsewhere }}\n      when: number == 2\n"
            + "    - command: echo {{ forgiven }}\n      ignore_errors: true\n"
            + "    - {command: 'true', loop: '{{ number }}'}\n"
        )
    found = [error.message.removeprefix(f"{tmp_path}/") for error in caught.value.errors]
    assert found[0] == "site.yml:5:24: 'nmber' is undefined"
    assert caught.value.errors[0].hint == "did you mean 'number'?"
    assert found[1].startswith("site.yml:12:31: 'loop' wants a list")
    assert len(found) == 2
    assert not (tmp_path / "ran").exists()


def test_undefined_that_only_the_board_can_settle_fails_the_task_after_those_before_it(
    run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: a, command: 'touch {{ root }}/a', register: r}\n"
        + "    - {name: b, command: 'touch {{ root }}/b'}\n"
        + "    - {name: c, command: 'echo {{ r.nothing }}'}\n"
        + "    - {name: d, command: 'touch {{ root }}/d'}\n"
    )
    assert ran.statuses() == [("a", "changed"), ("b", "changed"), ("c", "failed")]
    assert f"{tmp_path}/site.yml:6:37: the dictionary has no key" in str(ran.result("c")["msg"])
    assert not (tmp_path / "d").exists()


def test_no_log_hides_everything_but_not_from_later_tasks(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: secret, shell: 'echo hunter2; echo hunter2 >&2', register: r, no_log: true}\n"
        + "    - {name: use, copy: {dest: '{{ root }}/out', content: '{{ r.stdout }}'}, no_log: true}\n"
        + "    - {name: loops, command: 'echo {{ item }}', loop: [hunter2], no_log: true}\n"
        + "    - {name: fails, command: '{{ r.nothing }} hunter2', no_log: true, ignore_errors: true}\n"
        + "    - {name: tells, debug: {msg: '{{ r.stdout }}'}, no_log: true}\n"
        + "    - {name: sets, set_fact: {password: 'hunter2'}, no_log: true}\n",
        diff=True,
    )
    assert (tmp_path / "out").read_text() == "hunter2"
    assert ran.recap.exit_code == 0
    shown = json.dumps([event.as_dict() for event in ran.events])
    assert "hunter2" not in shown
    assert "no_log: true" in ran.result("secret")["censored"]
    kept = "".join(path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert "hunter2" not in kept


def test_files_are_searched_as_ansible_does_and_travel_by_content(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - copy: {src: a.txt, dest: '{{ root }}/out-a'}\n"
        + "    - import_tasks: sub/more.yml\n"
        + "    - template: {src: t.j2, dest: '{{ root }}/out-t', mode: preserve}\n"
        + "    - copy: {src: big, dest: '{{ root }}/out-big'}\n",
        files={
            "files/a.txt": "playbook's",
            "sub/files/a.txt": "sub's",
            "sub/more.yml": "- copy: {src: a.txt, dest: '{{ root }}/out-sub'}\n",
            "templates/t.j2": "number {{ number }}\n",
            "big": "x" * 20000,
        },
    )
    assert ran.recap.exit_code == 0
    assert (tmp_path / "out-a").read_text() == "playbook's"
    assert (tmp_path / "out-sub").read_text() == "sub's"
    assert (tmp_path / "out-t").read_text() == "number 1\n"
    assert (tmp_path / "out-big").read_text() == "x" * 20000
    inline = [blob for batch in ran.batches["h1"] for blob in batch["blobs"]]
    assert len(inline) == 3


def test_a_missing_file_fails_its_task_and_says_where_it_was_looked_for(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(HEAD + "    - command: 'true'\n    - copy: {src: none, dest: '{{ root }}/x'}\n")
    assert ran.statuses() == [("command", "changed"), ("copy", "failed")]
    assert ran.result("copy")["msg"] == "cannot find 'none'"
    assert "/files" in ran.result("copy")["hint"]


def test_files_that_earlier_tasks_make_on_this_machine_are_read_in_their_turn(
    run_playbook: RunPlaybook, tmp_path: Path
) -> None:
    ran = run_playbook(
        HEAD
        + "    - copy: {dest: '{{ root }}/made', content: 'new {{ number }}'}\n"
        + "    - copy: {src: made, dest: '{{ root }}/copied'}\n"
        + "    - debug: {msg: \"{{ lookup('file', 'copied') }}\"}\n"
    )
    assert (tmp_path / "copied").read_text() == "new 1"
    assert ran.result("debug")["msg"] == "new 1"


def test_become_user_environment_and_check_reach_the_board(run_playbook: RunPlaybook) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    ran = run_playbook(
        "- hosts: all\n  gather_facts: false\n  environment: {A: play, B: play}\n  tasks:\n"
        f"    - {{command: 'id -un', become: true, become_user: {me}, register: r}}\n"
        "    - {command: 'true', environment: {B: 'task {{ number }}'}}\n",
        check=True,
        inventory=f"all: {{hosts: {{h1: {{ansible_connection: local, number: 1, ansible_user: {me}}}}}}}\n",
    )
    first, second = ran.batches["h1"][0]["tasks"]
    assert first["environment"] == {"A": "play", "B": "play"}
    assert second["environment"] == {"A": "play", "B": "task 1"}
    assert first["check"] is True
    assert [status for _, status in ran.statuses()] == ["skipped", "skipped"]


def test_hostvars_of_another_host_wait_for_it(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "    - shell: sleep 0.$(( {{ 0 if mine == 'one' else 7 }} )); echo {{ mine }}\n      register: said\n"
        + "    - set_fact: {heard: '{{ said.stdout }}'}\n"
        + "    - debug: {msg: \"{{ hostvars['h2'].mine }} {{ hostvars['h2'].heard }} {{ hostvars.h1.heard }}\"}\n",
        inventory=TWO_HOSTS,
    )
    assert [ran.result("debug", host)["msg"] for host in ("h1", "h2")] == ["two two one", "two two one"]


def test_the_record_holds_plan_events_and_diffs(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "    - {name: write, copy: {dest: '{{ root }}/f', content: \"new\\n\"}, register: r}\n"
        + "    - {name: later, command: 'echo {{ r.dest }}'}\n",
        diff=True,
    )
    assert ran.recap.folder is not None
    host = ran.recap.folder / "h1"
    plan = json.loads((host / "plan.json").read_text())
    write, later = plan["plays"][0]["tasks"]
    assert (write["module"], write["args"]["content"]) == ("copy", "new\n")
    assert later["waits_for"] == "r"
    events = [json.loads(line) for line in (host / "events.jsonl").read_text().splitlines()]
    assert [one["status"] for one in events if one["event"] == "task"] == ["changed", "changed"]
    assert "+new" in (host / "diffs.patch").read_text()
    assert json.loads((ran.recap.folder / "recap.json").read_text())["hosts"]["h1"]["changed"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- hosts: nosuch\n  tasks: []\n", "site.yml:1:10: no host or group matches 'nosuch'"),
        ("- hosts: all\n  vars_files: ['{{ x }}.yml']\n  tasks: [{command: a}]\n", "site.yml:2:20: 'x' is undefined"),
    ],
)
def test_what_is_wrong_with_a_play_is_said_before_it_runs(text: str, message: str, run_playbook: RunPlaybook) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        run_playbook(text)


def test_a_variables_file_may_be_named_by_facts(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        "- hosts: all\n  vars_files: ['{{ ansible_facts.system }}.yml', 'plain-{{ number }}.yml']\n  tasks:\n"
        "    - debug: {msg: '{{ from_facts }} {{ plain }}'}\n",
        files={"Linux.yml": "from_facts: penguin\n", "vars/plain-1.yml": "plain: '{{ from_facts }}!'\n"},
    )
    assert ran.result("debug")["msg"] == "penguin penguin!"


def test_variables_files_may_lie_in_the_home_folder(
    run_playbook: RunPlaybook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name in ("a", "b"):
        (tmp_path / "home" / f"{name}.yml").write_text(f"{name}: from {name}\n")
    ran = run_playbook(
        "- hosts: all\n  gather_facts: false\n  vars: {which: b}\n  vars_files: [~/a.yml, '~/{{ which }}.yml']\n"
        "  tasks:\n    - debug: {msg: '{{ a }} {{ b }}'}\n"
    )
    assert ran.result("debug")["msg"] == "from a from b"


def test_a_result_that_another_host_is_setting_again_is_waited_for(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - {command: echo 0, register: r}\n"
        + "- hosts: all\n  gather_facts: false\n  tasks:\n"
        + "    - {shell: \"{{ 'sleep 0.3' if mine == 'one' else 'true' }}\", register: mark}\n"
        + "    - debug: {msg: \"{{ mark.rc }} {{ hostvars['h1'].mark.rc }}\"}\n"
        + "    - {shell: sleep 0.4, register: mark}\n",
        inventory=TWO_HOSTS,
    )
    assert [ran.result("debug", host)["msg"] for host in ("h1", "h2")] == ["0 0", "0 0"]
    assert ran.recap.ok
