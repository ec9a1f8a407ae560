"""Hosts of one play that need each other: who waits for whom, and that nobody waits in vain."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from playbook_runs import RunPlaybook

from tvmops.playbook.progress import END, Progress

HEAD = "- hosts: all\n  gather_facts: false\n"
FOUR = (
    "all: {hosts: {h1: {number: 1}, h2: {number: 2}, h3: {number: 3}, h4: {number: 4}},"
    " vars: {ansible_connection: local}}\n"
)


@pytest.mark.parametrize("forks", [1, 50])
def test_run_once_is_done_by_the_first_after_all_have_come(forks: int, run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "  tasks:\n    - command: touch {{ root }}/before-{{ number }}\n"
        + "    - {name: once, shell: 'ls {{ root }} | grep -c before', run_once: true, register: seen}\n"
        + "    - {name: told, debug: {msg: '{{ seen.stdout }}'}}\n",
        inventory=FOUR,
        forks=forks,
    )
    assert [ran.result("told", host)["msg"] for host in ("h1", "h2", "h3", "h4")] == ["4"] * 4
    assert [host for host in ("h1", "h2", "h3", "h4") if ("once", "changed") in ran.statuses(host)] == ["h1"]


def test_when_the_first_has_failed_the_next_is_the_first(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "  tasks:\n    - {command: 'test {{ number }} != 1'}\n"
        + "    - {name: once, command: 'echo {{ inventory_hostname }} {{ ansible_play_hosts }}', run_once: true,"
        + " register: r}\n    - {name: told, debug: {msg: '{{ r.stdout }}'}}\n",
        inventory=FOUR,
    )
    assert ran.result("told", "h4")["msg"] == "h2 [h2, h3, h4]"
    assert ran.recap.hosts["h1"].failed == 1


def test_a_host_that_cannot_be_reached_blocks_nobody_at_a_meeting(run_playbook: RunPlaybook) -> None:
    unreachable = FOUR.replace("h1: {number: 1}", "h1: {number: 1, ansible_connection: ssh, ansible_host: 127.0.0.1,"
                               " ansible_port: 1}")  # fmt: skip
    ran = run_playbook(
        HEAD
        + "  strategy: linear\n  tasks:\n    - {name: once, command: 'true', run_once: true}\n"
        + "    - command: 'true'\n",
        inventory=unreachable,
    )
    assert ran.recap.hosts["h1"].unreachable == 1
    # As in Ansible, losing the host that acts for all is a failure of all.
    assert all(ran.recap.hosts[host].stopped for host in ("h2", "h3", "h4"))


@pytest.mark.parametrize("forks", [1, 3])
def test_serial_batches_follow_each_other(forks: int, run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "  serial: [1, 50%]\n  tasks:\n    - command: touch {{ root }}/done-{{ number }}\n"
        + '    - {name: seen, shell: \'ls {{ root }} | grep done | sort | tr "\\n" " "; sleep 0.2\'}\n',
        inventory=FOUR,
        forks=forks,
    )
    assert ran.result("seen", "h1")["stdout"].split() == ["done-1"]
    assert "done-4" not in ran.result("seen", "h2")["stdout"]
    assert {"done-1", "done-2", "done-3"} <= set(ran.result("seen", "h4")["stdout"].split())
    assert ran.recap.ok


def test_a_batch_that_is_lost_ends_the_run_for_all(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "  serial: 2\n  tasks:\n    - {name: t, command: 'test {{ number }} -lt 3'}\n"
        + HEAD
        + "  tasks:\n    - {name: second play, command: 'true'}\n",
        inventory=FOUR.replace("h1: {number: 1}, h2: {number: 2}", "h1: {number: 1}, h2: {number: 2}, h5: {number: 5}"),
    )
    ended = {host: (one.ok, one.failed) for host, one in ran.recap.hosts.items()}
    assert ended == {"h1": (1, 0), "h2": (1, 0), "h5": (0, 1), "h3": (0, 1), "h4": (0, 0)}
    assert "failed" in ran.recap.hosts["h4"].stopped
    assert "failed" in ran.recap.hosts["h1"].stopped


def test_any_errors_fatal_stops_the_others_before_their_next_task(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "  any_errors_fatal: true\n  tasks:\n    - {name: a, shell: 'sleep 0.{{ number }}; test {{ number }} != 4'}\n"
        + "    - {name: b, command: 'true'}\n",
        inventory=FOUR,
    )
    assert [ran.statuses(host) for host in ("h1", "h2", "h3")] == [[("a", "changed")]] * 3
    assert "'a' failed on h4" in ran.recap.hosts["h1"].stopped
    assert ran.recap.exit_code == 2


def test_max_fail_percentage_bears_so_many_and_no_more(run_playbook: RunPlaybook) -> None:
    tasks = "  tasks:\n    - {name: a, command: 'test {{ number }} -gt 1'}\n"
    tasks += "    - {name: b, command: 'test {{ number }} -gt 2'}\n"
    ran = run_playbook(
        HEAD + "  max_fail_percentage: 49\n" + tasks + "    - {name: c, command: 'true'}\n", inventory=FOUR
    )
    assert ran.statuses("h4") == [("a", "changed"), ("b", "changed")]
    assert "max_fail_percentage is 49" in ran.recap.hosts["h4"].stopped


def test_throttle_lets_only_so_many_at_a_task(run_playbook: RunPlaybook, tmp_path: Path) -> None:
    ran = run_playbook(
        HEAD
        + "  tasks:\n    - shell: 'mkdir {{ root }}/busy && sleep 0.2 && rmdir {{ root }}/busy'\n      throttle: 1\n",
        inventory=FOUR,
    )
    assert ran.recap.ok


def test_delegated_tasks_run_elsewhere_with_their_own_hosts_variables(run_playbook: RunPlaybook) -> None:
    ran = run_playbook(
        HEAD
        + "  tasks:\n    - {name: d, command: 'echo {{ number }}', delegate_to: h1, register: r}\n"
        + "    - {name: l, command: 'echo {{ item }}', delegate_to: '{{ item }}', loop: [h1, h2, localhost]}\n"
        + "    - {name: m, debug: {msg: '{{ r.stdout }}'}}\n",
        inventory=FOUR,
    )
    assert [ran.result("m", host)["msg"] for host in ("h1", "h4")] == ["1", "4"]
    assert [one["stdout"] for one in ran.result("l", "h4")["results"]] == ["h1", "h2", "localhost"]
    assert [len(ran.batches[host]) for host in ("h4", "localhost")] == [0, 4]


def test_a_stopped_run_wakes_those_who_wait() -> None:
    progress, stopped = Progress(), threading.Event()
    progress.stopping = stopped.is_set
    progress.begin(["a", "b"], 5)
    progress.at("a", (1,))
    waiting = threading.Thread(target=progress.wait_for, args=(["a", "b"], (1,)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    stopped.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_who_waits_gives_the_turn_away() -> None:
    progress = Progress()
    progress.begin(["a", "b"], 1)
    order: list[str] = []

    def first() -> None:
        with progress.turn():
            order.append("first waits")
            progress.wait_for(["b"], (5,))
            order.append("first goes on")

    def second() -> None:
        with progress.turn():
            order.append("second")
            progress.end("b")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    while not order:
        threads[0].join(0.01)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert order == ["first waits", "second", "first goes on"]
    assert progress.place("b") == END


def test_places_never_go_back() -> None:
    progress = Progress()
    progress.begin(["a"], 1)
    progress.at("a", (2, 5))
    progress.at("a", (2, 3))
    assert progress.place("a") == (2, 5)
