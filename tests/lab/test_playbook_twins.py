"""Every playbook of the project: the same recap and the same file system under tvmops and a real ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_helpers import Commands, shell
from peers import ansible_program

from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.paths import project_root

pytestmark = pytest.mark.timeout(900)  # a provisioning by Ansible takes its time

OURS, THEIRS = "tw1", "tw2"
# In an order in which each finds something to do; twice, because the second run must change nothing.
PLAYBOOKS = ["provision.yml", "provision.yml", "mirrors-restore.yml", "mirrors-restore.yml"]
RECAP = re.compile(rf"^(?:{OURS}|{THEIRS}) +: (ok=.*)$", re.MULTILINE)

# What a machine writes about itself, what each tool keeps of its own, and what holds times or random bytes.
ELSEWHERE = [
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache", "/var/lib/apt",
    "/etc/machine-id", "/etc/hostname", "/etc/hosts", "/var/lib/systemd", "/var/lib/dbus", "/etc/ssh",
    "/root/.local", "/root/.ansible", "/root/.cache",
    "/home/admin/.local", "/home/admin/.ansible", "/home/admin/.cache",
]  # fmt: skip
# The duration of a proof; what dpkg writes in the order in which it worked (PACKAGES is asked instead).
UNLIKE = re.compile(r"/__pycache__(/|$)|^/var/lib/tvm/smoke-\w+\.json$|^/var/lib/dpkg/status(-old)?$")
PACKAGES = "dpkg-query -W -f '${Package} ${Version} ${Status}\n'; apt-mark showmanual"
PYTHON_APT = """
echo "deb {mirror} bookworm main" > /tmp/twin.list
apt="apt-get -qq -o Dir::Etc::SourceList=/tmp/twin.list -o Dir::Etc::SourceParts=-"
$apt update; DEBIAN_FRONTEND=noninteractive $apt install -y --no-install-recommends python3-apt
"""
LISTING = """
import hashlib, json, os, pwd, grp, stat, sys
found = {}
def look(path):
    about = os.lstat(path)
    kind, owner = stat.S_IFMT(about.st_mode), pwd.getpwuid(about.st_uid)[0] + ':' + grp.getgrgid(about.st_gid)[0]
    content = ''
    if stat.S_ISLNK(kind):
        content = os.readlink(path)
    elif stat.S_ISREG(kind) and not path.endswith('.pyc'):
        with open(path, 'rb') as file:
            content = hashlib.sha256(file.read()).hexdigest()
    found[path] = [oct(about.st_mode), owner, content]
    if stat.S_ISDIR(kind):
        for name in sorted(os.listdir(path)):
            if os.path.join(path, name) not in sys.argv[1:]:
                look(os.path.join(path, name))
look('/')
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def twins(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Two new boards with a whole Python and python3-apt, which Ansible would install by itself; nothing else."""
    lab.up([OURS, THEIRS])
    commands = Commands(lab, tmp_path_factory.mktemp("state"))
    commands.on("facts", "--host", f"{OURS},{THEIRS}")
    mirror = load_inventory([lab.inventory_path]).hosts[OURS].vars["apt_mirror"]
    for board in (OURS, THEIRS):
        shell(lab, board, PYTHON_APT.format(mirror=mirror), timeout=300)
    yield commands
    lab.down([OURS, THEIRS])


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The variables that name TVM's runtime, in a file that both can read."""
    path = tmp_path_factory.mktemp("release") / "release.json"
    argv = [sys.executable, "-m", "tvmops", "stack.bundle", "--python", "3.11", "--vars"]
    path.write_text(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return path


def files(lab: Lab, board: str) -> dict[str, list[str]]:
    """Every path of a board that a playbook may touch -> mode, owner and group, content; and its packages."""
    argv = " ".join(map(shlex.quote, ["python3", "-c", LISTING, *ELSEWHERE]))
    found: dict[str, list[str]] = json.loads(shell(lab, board, argv))
    alike = {path: about for path, about in found.items() if not UNLIKE.search(path)}
    return {**alike, **{line: ["package"] for line in shell(lab, board, PACKAGES).splitlines()}}


def differences(lab: Lab) -> dict[str, tuple[list[str] | None, list[str] | None]]:
    """Path -> how it is on our board, how on Ansible's."""
    ours, theirs = files(lab, OURS), files(lab, THEIRS)
    both = ((path, (ours.get(path), theirs.get(path))) for path in sorted({*ours, *theirs}))
    return {path: pair for path, pair in both if pair[0] != pair[1]}


def recap(output: str) -> str:
    found = RECAP.search(output)
    assert found, output[-6000:]
    return re.sub(r"\s+", " ", found[1].strip())


def ansible(lab: Lab, playbook: str, release: Path) -> str:
    argv = [str(ansible_program()), "-i", str(lab.inventory_path), "--limit", THEIRS, "-e", f"@{release}"]
    done = subprocess.run(
        [*argv, f"playbooks/{playbook}"],
        cwd=project_root(),
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def test_every_playbook_is_among_them() -> None:
    assert set(PLAYBOOKS) == {path.name for path in (project_root() / "playbooks").glob("*.yml")}


def test_same_recap_and_same_file_system(lab: Lab, twins: Commands, release: Path) -> None:
    assert differences(lab) == {}
    for playbook in PLAYBOOKS:
        ours = twins.on("playbook", f"playbooks/{playbook}", "--host", OURS, "-e", f"@{release}")
        theirs = ansible(lab, playbook, release)
        assert recap(ours) == recap(theirs), f"{playbook}\n{ours[-3000:]}\n{theirs[-3000:]}"
        assert differences(lab) == {}, playbook
