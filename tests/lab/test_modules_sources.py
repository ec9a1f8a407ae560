"""apt_repository and deb822_repository on a board, with its apt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_helpers import Machine, machine_on

from tvmops.lab import Lab

LISTS = "/etc/apt/sources.list.d"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# A repository in a folder of the board, with one package.
REPOSITORY = """set -e
mkdir -p /opt/{name}/DEBIAN
cd /opt/{name}
printf 'Package: {name}\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@y>\\nDescription: x\\n' > DEBIAN/control
mkdir -p /opt/repo-{name}
cd /opt/repo-{name}
dpkg-deb -b /opt/{name} {name}.deb
cat /opt/{name}/DEBIAN/control > Packages
echo "Filename: ./{name}.deb" >> Packages
echo "Size: $(stat -c %s {name}.deb)" >> Packages
echo "SHA256: $(sha256sum {name}.deb | cut -d' ' -f1)" >> Packages
"""


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Iterator[Machine]:
    """A board of this module's own, its apt set to the lab's mirror."""
    with machine_on(lab, "m3") as machine:
        machine.write("/etc/apt/sources.list", f"deb {machine.mirror} bookworm main\n")
        machine.shell(f"rm -f {LISTS}/*")
        assert machine.changed("apt", {"update_cache": True})
        yield machine


def test_a_line_makes_a_package_known(machine: Machine) -> None:
    machine.shell(REPOSITORY.format(name="lineful"))
    args = {"repo": "deb [trusted=yes] file:///opt/repo-lineful ./"}
    install = {"name": "lineful"}
    assert "no package lineful" in machine.failure("apt", install)
    first = machine.session_batch([("apt_repository", args), ("apt", install)], check=True)
    assert [(one["failed"], one["changed"]) for one in first] == [(False, True), (False, True)], first
    assert machine.shell(f"ls {LISTS}") == ""
    done = machine.task("apt_repository", args)
    assert done["sources_added"] == [f"{LISTS}/opt_repo_lineful.list"]
    assert not machine.changed("apt_repository", args)
    assert machine.changed("apt", install)
    assert machine.changed("apt", {**install, "state": "absent"})
    done = machine.task("apt_repository", {**args, "state": "absent"})
    assert done["sources_removed"] == [f"{LISTS}/opt_repo_lineful.list"]
    assert "no package lineful" in machine.failure("apt", install)


def test_a_source_that_does_not_answer_is_taken_out_again(machine: Machine) -> None:
    args = {"repo": "deb http://me:s3cret@127.0.0.1:1/debian bookworm main", "update_cache_retries": 2}
    result = machine.task("apt_repository", {**args, "update_cache_retry_max_delay": 1})
    assert result["failed"]
    assert "127.0.0.1:1" in result["msg"]
    assert "s3cret" not in str(machine.events)
    assert machine.shell(f"ls {LISTS}") == ""
    assert not machine.changed("apt", {"update_cache": True})


def test_a_paragraph_with_its_key(machine: Machine) -> None:
    args = {
        "name": "The Mirror",
        "uris": machine.mirror,
        "suites": "bookworm",
        "components": ["main"],
        "signed_by": f"file://{KEYRING}",
    }
    machine.shell("mv /etc/apt/sources.list /etc/apt/sources.list.away")
    assert machine.changed("deb822_repository", args, check=True)
    assert machine.shell(f"ls {LISTS}") == ""
    done = machine.task("deb822_repository", args)
    assert not done["failed"], done
    assert (done["dest"], done["mode"]) == (f"{LISTS}/the-mirror.sources", "0644")
    assert done["key_filename"] == "/etc/apt/keyrings/the-mirror.gpg"
    assert machine.shell(f"cat {done['dest']}").splitlines() == done["repo"].splitlines()
    machine.shell(f"cmp {KEYRING} {done['key_filename']}; stat -c %a {done['key_filename']} | grep -x 644")
    assert not machine.changed("deb822_repository", args)
    assert not machine.task("apt", {"update_cache": True})["failed"]
    assert machine.changed("apt", {"name": "hello"}, check=True)
    assert machine.changed("deb822_repository", {**args, "enabled": False})
    assert "Enabled: no" in machine.shell(f"cat {done['dest']}")
    machine.shell(f"printf other > {done['key_filename']}")
    assert machine.changed("deb822_repository", {**args, "enabled": False})
    absent = {"name": "The Mirror", "state": "absent"}
    assert machine.changed("deb822_repository", absent, check=True)
    assert machine.changed("deb822_repository", absent)
    assert not machine.changed("deb822_repository", absent)
    assert machine.shell(f"ls {LISTS} /etc/apt/keyrings") == "/etc/apt/keyrings:\n\n/etc/apt/sources.list.d:"
    machine.shell("mv /etc/apt/sources.list.away /etc/apt/sources.list")


def test_a_paragraph_with_a_key_inside(machine: Machine) -> None:
    machine.shell(REPOSITORY.format(name="paragraphful"))
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"
    args = {"name": "own", "uris": "file:///opt/repo-paragraphful", "suites": "./", "signed_by": key}
    assert machine.changed("deb822_repository", args)
    assert not machine.changed("deb822_repository", args)
    assert "\n    .\n    mDME\n" in machine.shell(f"cat {LISTS}/own.sources")
    assert machine.changed("deb822_repository", {**args, "signed_by": None, "trusted": True})
    assert machine.changed("apt", {"name": "paragraphful", "update_cache": True})
    assert machine.changed("apt", {"name": "paragraphful", "state": "absent"})
    assert machine.changed("deb822_repository", {"name": "own", "state": "absent"})
