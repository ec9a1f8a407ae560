"""The playbooks for clocks, OpenCL, tuning logs, MXNet: previewed, run twice, and the same under ansible-playbook."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from lab_helpers import Commands, shell
from twin_boards import PYTHON_APT, ansible, differences, files, recap
from wheels import make_wheel

from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.paths import project_root

pytestmark = pytest.mark.timeout(900)

OURS, THEIRS = "dv1", "dv2"
BOARDS = project_root() / "tests" / "unit" / "agent" / "boards"
LOG = b'{"input": ["llvm", "task", [], {}], "version": 0.2}\n'
# As much of MXNet as shows that it computes, for both boards; the real one has 290 MB.
MXNET = """
__version__ = "1.9.1"
import numpy
class nd:
    def __init__(self, value): self.value = value
    ones = classmethod(lambda cls, shape: cls(numpy.ones(shape)))
    def __mul__(self, factor): return nd(self.value * factor)
    def sum(self): return nd(self.value.sum())
    def asscalar(self): return self.value
"""


@pytest.fixture(scope="module")
def commands(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """Two boards, alike, with a whole Python and package sources; the tree of a NUC in /srv/nuc."""
    lab.up([OURS, THEIRS])
    run = Commands(lab, tmp_path_factory.mktemp("state"))
    run.on("facts", "--host", f"{OURS},{THEIRS}")
    variables = load_inventory([lab.inventory_path]).hosts[OURS].vars
    for board in (OURS, THEIRS):
        shell(lab, board, PYTHON_APT.format(mirror=variables["apt_mirror"]), timeout=300)
        shell(lab, board, f"echo {packed(BOARDS / 'nuc', 'srv/nuc')} | base64 -d | tar -C / -xz")
    run.on("playbook", "playbooks/mirrors.yml", "--host", f"{OURS},{THEIRS}")
    return run


def packed(folder: Path, name: str) -> str:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, name)
    return base64.b64encode(content.getvalue()).decode()


def alike(lab: Lab, run: Commands, playbook: str, variables: dict[str, Any]) -> str:
    """A check run changes nothing, the run does as Ansible's, a second one finds nothing to do -> what the run said."""

    def ours(*more: str) -> str:
        return run.on("playbook", f"playbooks/{playbook}", "--host", OURS, "-e", json.dumps(variables), *more)

    before = files(lab, OURS)
    foreseen = ours("--check")
    assert files(lab, OURS) == before
    said = ours()
    # What only a run can tell is proven in no check run.
    assert ("changed=0" in recap(foreseen, OURS)) == ("changed=0" in recap(said, OURS))
    theirs = ansible(lab, playbook, THEIRS, "-e", json.dumps(variables))
    assert recap(said, OURS) == recap(theirs, THEIRS), f"{said[-3000:]}\n{theirs[-3000:]}"
    assert differences(lab, OURS, THEIRS) == {}
    assert "changed=0 " in recap(ours(), OURS)
    return said


def test_clocks_are_pinned_and_given_back(lab: Lab, commands: Commands) -> None:
    governors = "cat /srv/nuc/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor | sort -u"
    before = shell(lab, OURS, "cd /srv/nuc; grep -r . sys")
    variables = {"power_root": "/srv/nuc", "power_turbo": False}
    alike(lab, commands, "power.yml", variables)
    assert shell(lab, OURS, governors) == "performance"
    assert shell(lab, OURS, "cat /srv/nuc/sys/devices/system/cpu/intel_pstate/no_turbo") == "1"
    alike(lab, commands, "power-restore.yml", {"power_root": "/srv/nuc"})
    assert shell(lab, OURS, "cd /srv/nuc; grep -r . sys") == before
    # The board itself is a container.
    said = commands.on("playbook", "playbooks/power.yml", "--host", OURS)
    assert "its clocks are those of the machine that holds it" in said
    assert "changed=0" in recap(said, OURS)


def test_opencl_on_the_cpu_by_pocl(lab: Lab, commands: Commands) -> None:
    said = alike(lab, commands, "opencl.yml", {"opencl_driver": "pocl"})
    assert '"platform": "Portable Computing Language"' in said
    assert '"type": "CPU"' in said
    program = (project_root() / "playbooks/files/opencl_check.py").read_text()
    shell(lab, OURS, f"cat > /tmp/check.py <<'EOF'\n{program}\nEOF")

    def told(user: str, before: str = "true") -> str:
        asked = json.dumps({"type": "GPU", "user": user})
        return shell(lab, OURS, f"{before}; python3 /tmp/check.py '{asked}' || true", timeout=120)

    vendors = "/etc/OpenCL/vendors"
    assert "OpenCL works, but has no GPU: it found" in told("")
    assert "user nobody has no home (/nonexistent)" in told("nobody")
    assert f"there is no driver in {vendors}" in told("", f"mv {vendors}/pocl.icd /root")
    said = told("", f"echo libnosuch.so > {vendors}/x.icd")
    assert f"the driver of {vendors}/x.icd does not load: OSError: libnosuch.so" in said
    shell(lab, OURS, f"rm {vendors}/x.icd /tmp/check.py; mv /root/pocl.icd {vendors}/")


def test_tuning_logs(lab: Lab, commands: Commands, tmp_path: Path) -> None:
    name = "arm_cpu_v0.08.log"
    (tmp_path / name).write_bytes(LOG)
    variables = {
        "tophub_files": [name],
        "tophub_sha256": {name: hashlib.sha256(LOG).hexdigest()},
        "tophub_source": {"kind": "folder", "path": str(tmp_path)},
        "tophub_cache": str(tmp_path / "cache"),
    }
    alike(lab, commands, "tophub.yml", variables)
    assert shell(lab, OURS, f"cat /opt/tvmops/tophub/{name}") == LOG.decode().strip()
    assert shell(lab, OURS, "echo $TOPHUB_LOCATION", user="admin") == ""
    assert shell(lab, OURS, "su - admin -c 'echo $TOPHUB_LOCATION'") == "file:///opt/tvmops/tophub"
    missing = {**variables, "tophub_files": [name, "opencl_v0.04.log"]}
    said = commands.on("playbook", "playbooks/tophub.yml", "--host", OURS, "-e", json.dumps(missing), rc=2)
    assert "it has no opencl_v0.04.log" in said


def test_mxnet_from_a_wheel_that_is_brought(lab: Lab, commands: Commands, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "mxnet", "1.9.1", {"mxnet.py": MXNET})
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    variables = {"mxnet_wheel": str(wheel), "mxnet_wheel_sha256": digest}
    alike(lab, commands, "mxnet.yml", variables)
    assert shell(lab, OURS, "cat /opt/tvmops/mxnet/.complete") == "MXNet 1.9.1, NumPy 1.23.5"
    wrong = {"mxnet_wheel": str(wheel), "mxnet_wheel_sha256": "00" * 32}
    said = commands.on("playbook", "playbooks/mxnet.yml", "--host", OURS, "-e", json.dumps(wrong), rc=2)
    assert re.search("THESE PACKAGES DO NOT MATCH THE HASHES|Got +" + digest, said)
    assert shell(lab, OURS, "cat /opt/tvmops/mxnet/.complete") == "MXNet 1.9.1, NumPy 1.23.5"


def test_the_real_mxnet_from_the_package_index(lab: Lab, commands: Commands) -> None:
    """290 MB; it takes the place of the one that was brought, and computes."""
    run = ("playbook", "playbooks/mxnet.yml", "--host", OURS)
    commands.on(*run)
    assert shell(lab, OURS, "cat /opt/tvmops/mxnet/.complete") == "MXNet 1.9.1, NumPy 1.23.5"
    assert int(shell(lab, OURS, "du -sm /opt/tvmops/mxnets/").split()[0]) > 200
    assert "changed=0 " in recap(commands.on(*run), OURS)
