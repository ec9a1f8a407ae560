"""Two boards alike, one for tvmops and one for a real ansible-playbook: what both did, and what came of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess

from lab_helpers import shell
from peers import ansible_program

from tvmops.lab import Lab
from tvmops.paths import project_root

# What a machine writes about itself, what each tool keeps of its own, and what holds times or random bytes.
ELSEWHERE = [
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache", "/var/lib/apt",
    "/etc/machine-id", "/etc/hostname", "/etc/hosts", "/var/lib/systemd", "/var/lib/dbus", "/etc/ssh",
    "/root/.local", "/root/.ansible", "/root/.cache",
    "/home/admin/.local", "/home/admin/.ansible", "/home/admin/.cache",
]  # fmt: skip
# The duration of a proof, when a release became current, digests of byte code; what dpkg writes in the order in which
# it worked (PACKAGES is asked instead).
UNLIKE = re.compile(
    r"/__pycache__(/|$)|/\.(history|bytecode\.json)$|^/var/lib/tvm/smoke-\w+\.json$|^/var/lib/dpkg/status(-old)?$"
)
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


def files(lab: Lab, board: str) -> dict[str, list[str]]:
    """Every path of a board that a playbook may touch -> mode, owner and group, content; and its packages."""
    argv = " ".join(map(shlex.quote, ["python3", "-c", LISTING, *ELSEWHERE]))
    found: dict[str, list[str]] = json.loads(shell(lab, board, argv))
    alike = {path: about for path, about in found.items() if not UNLIKE.search(path)}
    return {**alike, **{line: ["package"] for line in shell(lab, board, PACKAGES).splitlines()}}


def recap(output: str, board: str) -> str:
    """What a run counted on a board."""
    found = re.search(rf"^{board} +: (ok=.*)$", output, re.MULTILINE)
    assert found, output[-6000:]
    return re.sub(r"\s+", " ", found[1].strip())


def ansible(lab: Lab, playbook: str, board: str, *options: str) -> str:
    """What ansible-playbook says of a playbook of the project on a board, where it must end well."""
    done = subprocess.run(
        [str(ansible_program()), "-i", str(lab.inventory_path), "--limit", board, f"playbooks/{playbook}", *options],
        cwd=project_root(),
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def differences(lab: Lab, ours: str, theirs: str) -> dict[str, tuple[list[str] | None, list[str] | None]]:
    """Path -> how it is on our board, how on Ansible's."""
    one, other = files(lab, ours), files(lab, theirs)
    both = ((path, (one.get(path), other.get(path))) for path in sorted({*one, *other}))
    return {path: pair for path, pair in both if pair[0] != pair[1]}
