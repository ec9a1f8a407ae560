"""dpkg killed in the middle, as a power cut does it: the next run puts it right and says so."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lab_helpers import Machine, machine_on

from tvmops.lab import Lab

# A package whose script (preinst: while it is unpacked, postinst: while it is configured) waits for /opt/go.
PACKAGE = """set -e
mkdir -p /opt/{name}/DEBIAN /opt/{name}/usr/share/{name}
echo content > /opt/{name}/usr/share/{name}/file
cd /opt/{name}/DEBIAN
printf 'Package: {name}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: x <x@y>\\nDescription: x\\n' > control
printf '#!/bin/sh\\n[ -e /opt/go ] || sleep 600\\n' > {script}
chmod 755 {script}
dpkg-deb -b /opt/{name} /opt/{name}_{version}.deb
"""
STATE = "dpkg-query -W -f '${{db:Status-Status}} ${{db:Status-Eflag}}' {0} 2>/dev/null || true"


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    with machine_on(lab, "m2") as machine:
        yield machine


def cut_off(machine: Machine, name: str, script: str, wanted: str, version: str = "1") -> None:
    """Leave dpkg killed while a package's script runs."""
    machine.shell("rm -f /opt/go")
    machine.shell(PACKAGE.format(name=name, script=script, version=version))
    machine.shell("systemctl reset-failed cut 2>/dev/null || true")
    machine.shell(f"systemd-run --unit=cut dpkg -i /opt/{name}_{version}.deb")
    deadline = time.monotonic() + 120
    while wanted not in machine.shell(STATE.format(name)) or not machine.shell("pgrep -x sleep || true"):
        assert time.monotonic() < deadline, machine.shell("systemctl status cut || true")
        time.sleep(0.2)
    machine.shell("systemctl kill -s KILL cut; while systemctl is-active -q cut; do sleep 0.1; done; touch /opt/go")
    assert wanted in machine.shell(STATE.format(name))


def test_a_task_that_needs_nothing_recovers_what_was_cut_off(machine: Machine) -> None:
    cut_off(machine, "slow-one", "postinst", "half-configured")
    predicted = machine.task("apt", {"name": "bash"}, check=True)
    assert (predicted["changed"], predicted["recovered"]) == (True, ["slow-one"])
    assert "half-configured" in machine.shell(STATE.format("slow-one"))
    result = machine.task("apt", {"name": "bash"})
    assert (result["failed"], result["changed"], result["recovered"]) == (False, True, ["slow-one"]), result
    assert machine.shell(STATE.format("slow-one")) == "installed ok"
    assert machine.shell("dpkg --audit; ls /var/lib/dpkg/updates") == ""
    again = machine.task("apt", {"name": "bash"})
    assert not again["changed"]
    assert "recovered" not in again


def test_a_package_cut_off_while_it_was_unpacked(machine: Machine) -> None:
    cut_off(machine, "slow-two", "preinst", "half-installed")
    result = machine.task("apt", {"deb": "/opt/slow-two_1.deb"})
    assert not result["failed"], result
    assert machine.shell(STATE.format("slow-two")) == "installed ok"
    assert machine.shell("cat /usr/share/slow-two/file") == "content"
    assert machine.shell("dpkg --audit; ls /var/lib/dpkg/updates") == ""
    assert not machine.changed("apt", {"deb": "/opt/slow-two_1.deb"})


def test_an_upgrade_cut_off_while_it_was_unpacked(machine: Machine) -> None:
    machine.shell("touch /opt/go")
    machine.shell(PACKAGE.format(name="slow-three", script="preinst", version="1"))
    assert machine.changed("apt", {"deb": "/opt/slow-three_1.deb"})
    cut_off(machine, "slow-three", "preinst", "half-installed", version="2")
    result = machine.task("apt", {"name": "bash"})
    assert not result["failed"], "a task that needs nothing of apt-get is not held up"
    assert "slow-three" in result["warnings"][0]
    assert machine.changed("apt", {"deb": "/opt/slow-three_2.deb"})
    assert machine.shell("dpkg-query -W -f '${Version}' slow-three") == "2"
    assert machine.shell("dpkg --audit; ls /var/lib/dpkg/updates") == ""
    assert not machine.changed("apt", {"name": "bash"})


def test_a_package_whose_archive_is_gone_blocks_nothing(machine: Machine) -> None:
    cut_off(machine, "slow-four", "preinst", "half-installed")
    machine.shell("rm /opt/slow-four_1.deb; touch /opt/go")
    machine.shell(PACKAGE.format(name="next-one", script="postinst", version="1"))
    result = machine.task("apt", {"deb": "/opt/next-one_1.deb"})
    assert not result["failed"], result
    assert "slow-four was left half installed" in " ".join(result["warnings"])
    assert machine.shell("dpkg --audit; ls /var/lib/dpkg/updates") == ""
