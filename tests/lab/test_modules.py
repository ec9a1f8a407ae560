"""The modules that change a whole machine, on a real one: apt, user, group, systemd_service, service, pip, setup."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lab_helpers import Machine, Task, machine_on

from tvmops.lab import Lab

HOLD = """import fcntl, time
lock = open('/var/lib/dpkg/lock-frontend', 'r+')
fcntl.lockf(lock, fcntl.LOCK_EX)
open('/run/ready-holder', 'w')
time.sleep(600)
"""
HANG = """import socket
server, clients = socket.create_server(('127.0.0.1', 8099)), []
open('/run/ready-hang', 'w')
while True:
    clients.append(server.accept())
"""
UNIT = "[Service]\n{}\n[Install]\nWantedBy=multi-user.target\n"
# A package whose script after unpacking does what /opt/script says.
PACKAGE = """set -e
mkdir -p /opt/{name}/DEBIAN
cd /opt/{name}/DEBIAN
printf 'Package: {name}\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@y>\\nDescription: x\\n' > control
printf '#!/bin/sh\\n{script}\\n' > /opt/{name}/DEBIAN/postinst
chmod 755 /opt/{name}/DEBIAN/postinst
dpkg-deb -b /opt/{name} /opt/{name}.deb
"""


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    """A board of this module's own, its apt set to the lab's mirror."""
    with machine_on(lab, "m1") as machine:
        sources = f"deb {machine.mirror} bookworm main\ndeb {machine.security} bookworm-security main\n"
        machine.write("/etc/apt/sources.list", sources)
        assert machine.changed("apt", {"update_cache": True})
        yield machine


def test_install_and_remove(machine: Machine) -> None:
    hello = {"name": ["hello", "bash"]}
    assert machine.changed("apt", hello, check=True)
    assert "absent" in machine.shell("command -v hello || echo absent")
    result = machine.task("apt", hello)
    assert result["changed"]
    assert result["diff"][0]["after"].startswith("hello 2")
    assert any(event["ev"] == "progress" for event in machine.events)
    again = machine.task("apt", {**hello, "update_cache": True, "cache_valid_time": 3600})
    assert not again["changed"]
    assert not again["cache_updated"]
    assert not machine.changed("apt", {"name": "hello", "state": "latest"})
    assert not machine.changed("apt", {"name": "hello=2.*"})
    assert not machine.changed("package", {"name": "hello", "state": "present"})
    assert machine.changed("apt", {"name": "hello", "state": "absent"}, check=True)
    assert machine.changed("apt", {"name": "hello", "state": "absent", "purge": True})
    assert not machine.changed("apt", {"name": "hello", "state": "absent", "purge": True})


def test_what_is_asked_for_is_noted_as_wanted_for_itself(machine: Machine) -> None:
    assert machine.changed("apt", {"name": "tree"})
    machine.shell("apt-mark auto tree")
    assert not machine.changed("apt", {"name": "tree"}, check=True)
    assert "tree" in machine.shell("apt-mark showauto").split()
    assert not machine.changed("apt", {"name": "tree"})
    assert "tree" not in machine.shell("apt-mark showauto").split()
    assert machine.changed("apt", {"name": "tree", "state": "absent"})


def test_young_lists_that_a_power_cut_emptied_are_fetched_again(machine: Machine) -> None:
    machine.shell("for list in /var/lib/apt/lists/*_Packages; do : > $list; done; touch /var/lib/apt/lists")
    assert "no package tree" in machine.failure("apt", {"name": "tree"})
    result = machine.task("apt", {"name": "tree", "update_cache": True, "cache_valid_time": 604800})
    assert not result["failed"], result
    assert (result["changed"], result["cache_updated"]) == (True, True)
    missing = machine.failure("apt", {"name": "no-such", "update_cache": True, "cache_valid_time": 604800})
    assert "no-such" in missing
    assert machine.changed("apt", {"name": "tree", "state": "absent"})


def test_an_update_without_news_changes_nothing(machine: Machine) -> None:
    assert not machine.changed("apt", {"update_cache": True})


def test_a_check_of_packages_whose_lists_would_be_fetched_first(machine: Machine) -> None:
    machine.shell("mv /var/lib/apt/lists /opt/lists; mkdir -p /var/lib/apt/lists/partial")
    tasks: list[Task] = [("apt", {"update_cache": True}), ("apt", {"name": "hello"}), ("apt", {"name": "hello"})]
    results = machine.session_batch(tasks, check=True)
    assert [one["failed"] for one in results] == [False] * 3, results
    assert [one["changed"] for one in results] == [True, True, False], results
    machine.shell("rm -r /var/lib/apt/lists; mv /opt/lists /var/lib/apt/lists")


def test_a_virtual_package_is_there_when_its_provider_is(machine: Machine) -> None:
    assert not machine.changed("apt", {"name": "awk"})
    assert "choose one of" in machine.failure("apt", {"name": "mail-transport-agent"})


def test_what_the_mirror_does_not_have(machine: Machine) -> None:
    message = machine.failure("apt", {"name": ["tvmops-nosuch", "bash"]})
    assert "tvmops-nosuch" in message
    assert machine.mirror in message
    # apt-get would take this for a regular expression and install thousands of packages.
    assert "no package c.w" in machine.failure("apt", {"name": "c.w"})
    assert "no version 99" in machine.failure("apt", {"name": "bash=99"})
    assert "bash>=99 is at" in machine.failure("apt", {"name": "bash>=99"})


def test_a_held_lock_is_waited_for_and_its_holder_named(machine: Machine) -> None:
    machine.background("holder", HOLD)
    message = machine.failure("apt", {"name": "hello", "lock_timeout": 1})
    assert "/var/lib/dpkg/lock-frontend" in message
    assert "python3 /opt/holder.py" in message
    machine.shell("systemd-run --on-active=2 systemctl stop holder")
    assert machine.changed("apt", {"name": "hello", "lock_timeout": 60})
    assert machine.changed("apt", {"name": "hello", "state": "absent"})


def test_an_interrupted_dpkg_is_finished_first(machine: Machine) -> None:
    machine.shell(PACKAGE.format(name="slow", script="[ -e /opt/fast ] || sleep 100"))
    machine.shell("systemd-run --unit=cut apt-get -y install /opt/slow.deb")
    limit = time.monotonic() + 60
    while "iF" not in machine.shell("dpkg-query -W -f '${db:Status-Abbrev}' slow 2>/dev/null || true"):
        assert time.monotonic() < limit
        time.sleep(0.2)
    machine.shell("systemctl kill -s KILL cut; touch /opt/fast")
    assert machine.task("apt", {"name": "slow"})["recovered"] == ["slow"]
    assert not machine.changed("apt", {"name": "slow"})
    assert "ii" in machine.shell("dpkg-query -W -f '${db:Status-Abbrev}' slow")
    assert machine.changed("apt", {"name": "hello"})
    assert machine.changed("apt", {"name": ["slow", "hello"], "state": "absent"})


def test_a_package_whose_script_fails(machine: Machine) -> None:
    machine.shell(PACKAGE.format(name="bad", script="echo my postinst says no; exit 3"))
    message = machine.failure("apt", {"deb": "/opt/bad.deb"})
    assert "could not set up bad" in message
    assert "my postinst says no" in message
    assert machine.changed("apt", {"name": "bad", "state": "absent", "purge": True})


def test_a_mirror_that_hangs_is_named_within_its_deadline(machine: Machine) -> None:
    machine.background("hang", HANG)
    machine.write("/etc/apt/sources.list.d/dead.list", "deb http://127.0.0.1:8099/debian bookworm main\n")
    started = time.monotonic()
    message = machine.failure("apt", {"update_cache": True})
    assert time.monotonic() - started < 120
    assert "http://127.0.0.1:8099/debian bookworm" in message
    assert "bookworm-security" not in message
    machine.shell("systemctl stop hang; rm /etc/apt/sources.list.d/dead.list")
    assert not machine.task("apt", {"update_cache": True})["failed"]


def test_users_and_groups(machine: Machine) -> None:
    group = {"name": "tvmtest", "system": True}
    user = {
        "name": "tvmtest",
        "group": "tvmtest",
        "groups": ["video", "dialout"],
        "system": True,
        "home": "/var/lib/deep/tvmtest",
        "shell": "/usr/sbin/nologin",
        "comment": "runs tests",
        "password": "$6$salt$hash",
    }
    both: list[Task] = [("group", group), ("user", user)]
    assert [result["changed"] for result in machine.session_batch(both, check=True)] == [True, True]
    results = machine.session_batch(both)
    assert [result["changed"] for result in results] == [True, True], results
    assert "$6$" not in str(machine.events)
    assert [result["changed"] for result in machine.session_batch(both)] == [False, False]
    assert "tvmtest dialout video" in machine.shell("id -Gn tvmtest")
    assert machine.shell("stat -c %U /var/lib/deep/tvmtest; getent shadow tvmtest").split()[0] == "tvmtest"
    assert "$6$salt$hash" in machine.shell("getent shadow tvmtest")
    assert machine.changed("user", {"name": "tvmtest", "groups": "audio", "append": True})
    assert not machine.changed("user", {"name": "tvmtest", "groups": ["video"], "append": True})
    assert machine.changed("user", {"name": "tvmtest", "groups": ["video"]})
    assert machine.changed("user", {"name": "tvmtest", "home": "/home/elsewhere", "move_home": True})
    assert machine.shell("ls -d /home/elsewhere /var/lib/deep/tvmtest 2>/dev/null || true") == "/home/elsewhere"
    assert "no group tvmops-nosuch" in machine.failure("user", {"name": "tvmtest", "groups": ["tvmops-nosuch"]})
    assert machine.changed("user", {"name": "tvmtest", "state": "absent", "remove": True})
    assert not machine.changed("user", {"name": "tvmtest", "state": "absent"})
    assert not machine.changed("group", {"name": "tvmtest", "state": "absent"})


def test_services(machine: Machine) -> None:
    good = {"name": "good", "state": "started", "enabled": True, "daemon_reload": True}
    unit = {"dest": "/etc/systemd/system/good.service", "content": UNIT.format("ExecStart=/bin/sleep 1000")}
    checked: list[Task] = [("copy", unit), ("systemd_service", good), ("systemd_service", good)]
    results = machine.session_batch(checked, check=True)
    assert [(one["changed"], one["failed"]) for one in results] == [(True, False), (True, False), (False, False)]
    machine.write(unit["dest"], unit["content"])
    assert machine.changed("systemd_service", good)
    assert machine.shell("systemctl is-active good; systemctl is-enabled good").split() == ["active", "enabled"]
    assert not machine.changed("systemd", good)
    assert not machine.changed("service", {"name": "good", "state": "started", "enabled": True})
    before = machine.shell("systemctl show -p MainPID good")
    assert machine.changed("systemd_service", {"name": "good.service", "state": "restarted"})
    assert machine.shell("systemctl show -p MainPID good") != before
    assert machine.changed("service", {"name": "good", "state": "stopped", "enabled": False})
    assert not machine.changed("service", {"name": "good", "state": "stopped", "enabled": False})
    assert "no unit tvmops-nosuch" in machine.failure("service", {"name": "tvmops-nosuch", "state": "started"})


@pytest.mark.parametrize("kind", ["Type=oneshot", "Type=simple\nRestart=always"])
def test_a_start_that_fails_shows_the_journal(machine: Machine, kind: str) -> None:
    machine.write(
        "/etc/systemd/system/bad.service", UNIT.format(kind + "\nExecStart=/bin/sh -c 'echo because; exit 3'")
    )
    args = {"name": "bad", "state": "started", "daemon_reload": True}
    assert "because" in machine.failure("systemd_service", args)
    machine.shell("systemctl stop bad; systemctl reset-failed bad || true")


def test_a_restart_ends_a_series_of_failures(machine: Machine) -> None:
    unit = "[Service]\nExecStart=/bin/sh -c 'test -e /run/works && exec sleep 600'\nRestart=always\nRestartSec=1s\n"
    machine.write("/etc/systemd/system/again.service", unit + "[Unit]\nStartLimitIntervalSec=0\n")
    machine.shell("systemctl daemon-reload; systemctl start again")
    machine.shell("timeout 60 sh -c 'until [ $(systemctl show -P NRestarts again) -ge 2 ]; do sleep 0.1; done'")
    machine.shell("timeout 60 sh -c 'until [ $(systemctl show -P SubState again) = auto-restart ]; do :; done'")
    machine.shell("touch /run/works")
    assert machine.changed("systemd_service", {"name": "again", "state": "restarted"})
    assert machine.shell("systemctl is-active again") == "active"
    machine.shell("systemctl stop again; rm /run/works /etc/systemd/system/again.service; systemctl daemon-reload")


def test_masking(machine: Machine) -> None:
    machine.shell(
        "mkdir -p /run/systemd/system; printf '[Service]\\nExecStart=/bin/true\\n' > /run/systemd/system/masky.service"
    )
    assert machine.changed("systemd_service", {"name": "masky", "masked": True, "daemon_reload": True})
    assert not machine.changed("systemd_service", {"name": "masky", "masked": True})
    assert "is masked" in machine.failure("systemd_service", {"name": "masky", "state": "started"})
    assert machine.changed("systemd_service", {"name": "masky", "masked": False})


def test_pip_in_a_virtual_environment(machine: Machine) -> None:
    assert "install python3-pip" in machine.failure("pip", {"name": "six"})
    assert machine.changed("apt", {"name": ["python3-venv", "python3-pip"], "install_recommends": False})
    assert "PEP 668" in machine.failure("pip", {"name": "six"})
    gateway = machine.index.split("/")[2].split(":")[0]
    args = {
        "name": "six",
        "virtualenv": "/opt/venv",
        "virtualenv_command": "python3 -m venv",
        "extra_args": f"--index-url {machine.index} --trusted-host {gateway}",
    }
    assert machine.changed("pip", args, check=True)
    assert machine.changed("pip", args)
    assert not machine.changed("pip", args)
    assert machine.shell("/opt/venv/bin/python -c 'import six; print(six.__name__)'") == "six"


def test_facts_of_a_board(machine: Machine) -> None:
    facts = machine.task("setup", {})["ansible_facts"]
    assert facts["ansible_service_mgr"] == "systemd"
    assert facts["ansible_distribution_release"] == "bookworm"
    assert facts["ansible_virtualization_role"] == "guest"
    assert facts["ansible_default_ipv4"] == {} or facts["ansible_default_ipv4"]["interface"] == "eth0"
    assert facts["ansible_all_ipv4_addresses"]
    assert "tvmops_fact_errors" not in facts
