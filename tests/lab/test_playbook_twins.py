"""Every playbook of the project: the same recap and the same file system under tvmops and a real ansible-playbook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lab_helpers import Commands, shell
from twin_boards import PYTHON_APT, ansible, differences, recap
from variants import touched, variant

from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.paths import project_root
from tvmops.stack.board_shipping import board_variables
from tvmops.stack.shipping import find_artifact

pytestmark = pytest.mark.timeout(900)  # a provisioning by Ansible takes its time

OURS, THEIRS = "tw1", "tw2"
# In an order in which each finds something to do; twice, because the second run must change nothing.
PLAYBOOKS = [
    "provision.yml",
    "bundle.yml",
    "provision.yml",
    "mirrors-restore.yml",
    "mirrors-restore.yml",
    "mirrors.yml",
    "clock.yml",
    "swap.yml",
    "toolchain.yml",
    "ship.yml",
    "release-rollback.yml",
    "release-switch.yml",
    "release-gc.yml",
    "release-list.yml",
    "rpc-tracker.yml",
    "rpc-server.yml",
]
# What the playbooks are asked for beside the release: little, and what containers can have.
WANTED = {
    "tvm_ntp": "10.0.0.1",
    "swap_state": "absent",
    "toolchain": ["cmake-3.31.10"],
    "toolchain_basics": ["xz-utils"],
}
# What rpc-server.yml is there for: variables of the server that have changed.
SERVER = {"tvm_threads": 1, "tvm_rpc_groups": ["video"]}
# These get another release than the one that was provisioned.
WITH_NEXT = ("ship.yml", "release-switch.yml", "release-gc.yml")
# Of both boards, as far as a release asks for them.
FACTS: dict[str, object] = {
    "ansible_architecture": "x86_64",
    "ansible_python_version": "3.11.2",
    "tvmops_glibc": "2.36",
}


@pytest.fixture(scope="module")
def twins(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """Two new boards with a whole Python and python3-apt, which Ansible would install by itself; nothing else."""
    lab.up([OURS, THEIRS])
    commands = Commands(lab, tmp_path_factory.mktemp("state"))
    commands.on("facts", "--host", f"{OURS},{THEIRS}")
    mirror = load_inventory([lab.inventory_path]).hosts[OURS].vars["apt_mirror"]
    for board in (OURS, THEIRS):
        shell(lab, board, PYTHON_APT.format(mirror=mirror), timeout=300)
    return commands


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The variables that name TVM's runtime, in a file that both can read."""
    path = tmp_path_factory.mktemp("release") / "release.json"
    argv = [sys.executable, "-m", "tvmops", "stack.artifact", "--python", "3.11", "--vars"]
    said = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    path.write_text(json.dumps({**json.loads(said), **WANTED}))
    return path


@pytest.fixture(scope="module")
def next_release(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a release of which the board has most files."""
    folder = tmp_path_factory.mktemp("next")
    first = find_artifact(json.loads(release.read_text())["tvmops_release_key"])
    facts = {**FACTS, "tvmops_releases": {"keys": [first.key]}}
    variables, _ = board_variables(variant(first, folder, touched(first, 0.05, "next")), facts)
    path = folder / "next.json"
    path.write_text(json.dumps({**variables, "tvmops_release_keep": 1}))
    return path


def test_every_playbook_is_among_them() -> None:
    # build.yml wants compilers: tests/integration/test_build_playbook.py runs it with both.
    # Those for devices have boards of their own: test_playbooks_devices.py.
    devices = {"power.yml", "power-restore.yml", "opencl.yml", "tophub.yml", "mxnet.yml"}
    assert {*PLAYBOOKS, *devices, "build.yml"} == {path.name for path in (project_root() / "playbooks").glob("*.yml")}


def test_same_recap_and_same_file_system(lab: Lab, twins: Commands, release: Path, next_release: Path) -> None:
    assert differences(lab, OURS, THEIRS) == {}
    for playbook in PLAYBOOKS:
        variables = ["-e", f"@{next_release if playbook in WITH_NEXT else release}"]
        if playbook == "rpc-server.yml":
            variables += ["-e", json.dumps(SERVER)]
        ours = twins.on("playbook", f"playbooks/{playbook}", "--host", OURS, *variables)
        theirs = ansible(lab, playbook, THEIRS, *variables)
        assert recap(ours, OURS) == recap(theirs, THEIRS), f"{playbook}\n{ours[-3000:]}\n{theirs[-3000:]}"
        assert differences(lab, OURS, THEIRS) == {}, playbook
