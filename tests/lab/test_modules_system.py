"""Modules that need a whole system of their own: hostname, mount, sysctl, facts of packages and services, a restart."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_helpers import Machine, machine_on
from site_runs import begin, changed, finish

from tvmops.errors import TvmopsError
from tvmops.lab import Lab

PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - {command: cat /proc/sys/kernel/random/boot_id, register: before, changed_when: false}
    - {reboot: {msg: "it's a new kernel", reboot_timeout: 120}, register: restarted}
    - {command: cat /proc/sys/kernel/random/boot_id, register: after, changed_when: false}
    - assert: {that: [before.stdout != after.stdout, restarted.rebooted, restarted is changed]}
    - {wait_for_connection: {timeout: 60}}
    - {hostname: {name: after-restart}}
    - {fetch: {src: /etc/hostname, dest: fetched/}}
    - {script: show.sh one "two words", register: shown, changed_when: false}
    - assert: {that: ["shown.stdout_lines == ['root', 'one', 'two words']"]}
    - {raw: id -un, register: plain, changed_when: false}
    - assert: {that: ["plain.stdout_lines == ['root']"]}
    - {package_facts: }
    - {service_facts: }
    - assert: {that: ["packages.bash[0].version is version('5', '>=')", "services['ssh.service'].state == 'running'"]}
"""


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    """A board of this module's own."""
    with machine_on(lab, "m2") as machine:
        yield machine


def converge(machine: Machine, name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Check, apply, apply again -> the result that changed the board."""
    assert machine.changed(name, args, check=True)
    result = machine.task(name, args)
    assert (result["changed"], result["failed"]) == (True, False), result
    assert not machine.changed(name, args)
    assert not machine.changed(name, args, check=True)
    return result


def test_hostname(machine: Machine) -> None:
    for use in ("systemd", "generic", None):
        name = f"board-{use or 'other'}.example"
        result = converge(machine, "hostname", {"name": name, "use": use})
        assert result["ansible_facts"]["ansible_hostname"] == name.split(".")[0]
        assert machine.shell("cat /etc/hostname; hostname; hostnamectl --static status").split() == [name] * 3
    machine.shell("hostname transient")
    assert machine.changed("hostname", {"name": "board-other.example"})
    assert machine.task("setup", {"gather_subset": "min"})["ansible_facts"]["ansible_nodename"] == "board-other.example"


def test_package_facts_are_what_dpkg_knows(machine: Machine) -> None:
    result = machine.task("package_facts", {})
    assert not result["failed"], result
    packages = result["ansible_facts"]["packages"]
    names = machine.shell("dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p'").split()
    assert sorted(packages) == sorted(names)
    version = machine.shell("dpkg-query -W -f '${Version}' bash")
    assert [one["version"] for one in packages["bash"]] == [version]


def test_service_facts(machine: Machine) -> None:
    machine.write("/etc/systemd/system/idle.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    machine.write("/etc/systemd/system/bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    machine.shell("systemctl daemon-reload; systemctl mask --quiet never.service; systemctl start bad.service; true")
    services = machine.task("service_facts", {})["ansible_facts"]["services"]
    shown = {name: (services[name]["state"], services[name].get("status")) for name in services}
    assert shown["ssh.service"] == ("running", "enabled")
    assert shown["idle.service"] == ("inactive", "static")
    assert shown["bad.service"] == ("stopped", "failed")
    assert shown["never.service"][1] == "masked"
    assert shown["getty@.service"] == ("unknown", "enabled")
    assert {one["source"] for one in services.values()} <= {"systemd", "sysv"}


def test_mount(machine: Machine) -> None:
    table = machine.shell("cat /etc/fstab")
    entry = {"path": "/srv/some data", "src": "tmpfs", "fstype": "tmpfs", "opts": "size=1m"}
    converge(machine, "mount", {**entry, "state": "mounted"})
    assert machine.shell("df --output=size '/srv/some data' | tail -1").strip() == "1024"
    assert "tmpfs /srv/some\\040data tmpfs size=1m 0 0" in machine.shell("cat /etc/fstab")
    converge(machine, "mount", {**entry, "opts": "size=2m", "state": "mounted"})
    assert machine.shell("df --output=size '/srv/some data' | tail -1").strip() == "2048"
    machine.write("/srv/some data/file", "x")
    assert machine.changed("mount", {"path": entry["path"], "state": "remounted"})
    converge(machine, "mount", {"path": entry["path"], "state": "unmounted"})
    assert machine.shell("ls '/srv/some data' | wc -l; grep -c some /etc/fstab") == "0\n1"
    converge(machine, "mount", {**entry, "opts": "size=2m", "state": "mounted"})
    converge(machine, "mount", {"path": entry["path"], "state": "absent"})
    assert machine.shell("test ! -e '/srv/some data'; cat /etc/fstab") == table


def test_a_mount_that_fails_leaves_nothing(machine: Machine) -> None:
    before = machine.shell("cat /etc/fstab; ls /srv")
    wrong = {"path": "/srv/x/y", "src": "/dev/no-such-disk", "fstype": "ext4", "state": "mounted"}
    assert "no-such-disk" in machine.failure("mount", wrong)
    assert machine.shell("cat /etc/fstab; ls /srv") == before


def test_an_ephemeral_mount_stays_out_of_fstab(machine: Machine) -> None:
    before = machine.shell("cat /etc/fstab")
    entry = {"path": "/srv/eph", "src": "/opt", "fstype": "none", "opts": "bind", "state": "ephemeral"}
    assert machine.changed("mount", entry)
    assert machine.shell("cat /etc/fstab") == before
    assert machine.shell("stat -c %i /opt /srv/eph").split() == [machine.shell("stat -c %i /opt")] * 2
    assert machine.changed("mount", entry)  # it is mounted anew, as Ansible has it
    assert "already" in machine.failure("mount", {**entry, "src": "/home"})
    assert machine.changed("mount", {"path": "/srv/eph", "state": "absent"})
    assert machine.shell("test ! -e /srv/eph; cat /etc/fstab") == before


def test_sysctl(machine: Machine) -> None:
    # Of its settings only those of the network are the board's own; the rest is this machine's.
    machine.shell("mount -o remount,bind,rw /proc/sys")
    path = "/etc/sysctl.d/60-board.conf"
    setting = {"name": "net.ipv4.ip_forward", "value": True, "sysctl_file": path}
    assert machine.shell("cat /proc/sys/net/ipv4/ip_forward") == "0"
    converge(machine, "sysctl", setting)
    assert machine.shell(f"cat /proc/sys/net/ipv4/ip_forward {path}") == "1\nnet.ipv4.ip_forward=1"
    machine.shell("echo 0 > /proc/sys/net/ipv4/ip_forward")
    converge(machine, "sysctl", setting)
    converge(machine, "sysctl", {**setting, "value": 0, "reload": False, "sysctl_set": True})
    assert machine.shell("cat /proc/sys/net/ipv4/ip_forward") == "0"
    ports = {"name": "net.ipv4.ip_local_port_range", "value": "20000 30000", "sysctl_file": path}
    converge(machine, "sysctl", ports)
    assert machine.shell("cat /proc/sys/net/ipv4/ip_local_port_range").split() == ["20000", "30000"]
    converge(machine, "sysctl", {**ports, "state": "absent"})
    unknown = {**setting, "name": "net.no.such", "value": 1}
    assert "net" in machine.failure("sysctl", unknown)
    assert not machine.changed("sysctl", {**unknown, "ignoreerrors": True})  # the first left its line
    assert "does not take" in machine.failure("sysctl", {**setting, "value": "many", "sysctl_set": True})


def test_authorized_key_of_a_new_user(machine: Machine) -> None:
    blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + secrets.token_bytes(32)).decode()
    key = {"user": "kai", "key": f"ssh-ed25519 {blob} kai@desk"}
    both = [("user", {"name": "kai"}), ("authorized_key", key)]
    assert [one["changed"] for one in machine.session_batch(both, check=True)] == [True, True]
    assert [one["changed"] for one in machine.session_batch(both)] == [True, True]
    assert [one["changed"] for one in machine.session_batch(both)] == [False, False]
    folder = "/home/kai/.ssh"
    shown = machine.shell(f"stat -c '%U:%G %a' {folder} {folder}/authorized_keys").splitlines()
    assert shown == ["kai:kai 700", "kai:kai 600"]


def test_make_that_an_earlier_task_installs(machine: Machine) -> None:
    machine.write("/etc/apt/sources.list", f"deb {machine.mirror} bookworm main\n")
    machine.shell("mkdir -p /opt/src; printf 'out:\\n\\techo 1 > out\\n' > /opt/src/Makefile")
    both = [("apt", {"name": "make", "update_cache": True}), ("make", {"chdir": "/opt/src", "target": "out"})]
    assert [one["changed"] for one in machine.session_batch(both, check=True)] == [True, True]
    assert "no program make" in machine.failure("make", {"chdir": "/opt/src", "target": "out"})
    assert [one["changed"] for one in machine.session_batch(both)] == [True, True]
    assert not machine.changed("make", {"chdir": "/opt/src", "target": "out"})


def test_script_as_another_user(machine: Machine) -> None:
    source = b'#!/bin/sh\nid -un; echo "$1"\n'
    sha256 = hashlib.sha256(source).hexdigest()
    machine.blobs[sha256] = source
    args = {"_blob": {"sha256": sha256, "size": len(source)}, "arguments": "'a b'"}
    batch = {"id": 1, "tasks": [{"id": 1, "module": "_script", "args": args, "become_user": "nobody"}]}
    events: list[dict[str, Any]] = []
    machine.session.run_batch(batch, machine.blobs.__getitem__, events.append)
    (result,) = [event["result"] for event in events if event["ev"] == "done"]
    assert result["stdout"] == "nobody\na b\n", result


def test_the_board_restarts(lab: Lab) -> None:
    with machine_on(lab, "m3") as machine:
        before = machine.task("_boot", {})
        assert machine.task("_boot", {"action": "reboot"}, check=True)["skipped"]
        try:
            begun = machine.task("_boot", {"action": "reboot", "msg": "new kernel; don't panic"})
            assert (begun["changed"], begun["boot"]) == (True, before["boot"])
        except TvmopsError:
            pass  # the board was quicker than its answer
    limit = time.monotonic() + 120
    while True:
        try:
            with machine_on(lab, "m3") as machine:
                after = machine.task("_boot", {"test_command": "whoami"})
        except TvmopsError:
            after = before
        if after["boot"] != before["boot"]:
            break
        assert time.monotonic() < limit
        time.sleep(1)
    assert after["test"]["stdout"] == "root\n"
    assert after["boot"] != before["boot"]


def test_a_playbook_goes_on_after_a_restart(lab: Lab, tmp_path: Path) -> None:
    lab.up(["m3"])
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    (tmp_path / "show.sh").write_text('#!/bin/sh\nid -un\nfor word; do echo "$word"; done\n')
    said = finish(begin(lab, tmp_path, "playbook", str(tmp_path / "site.yml"), "--host", "m3"), 0)
    assert changed(said) == {"m3": 3}, said
    assert (tmp_path / "fetched/m3/etc/hostname").read_text() == "after-restart\n"
