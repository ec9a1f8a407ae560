"""A board that can reach nothing but its controller is provisioned from a bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab_helpers import Commands, shell
from wheels import make_wheel

from tvmops.digests import file_sha256
from tvmops.lab import Lab
from tvmops.paths import project_root
from tvmops.worker.models import fetch

REACHES = "python3 -c 'import urllib.request as u; u.urlopen(\"{url}\", timeout=3)' && echo yes || echo no"
# A program that no board has; its address has %2b where the name of its file has a plus sign.
PACKAGES = {"tvmops_packages": ["zstd"]}
LOG, NAME = b'{"input": ["llvm", "task", [], {}], "version": 0.2}\n', "mine_v1.0.log"
LOGS = {"tvmops_tophub": True, "tophub_files": [NAME], "tophub_sha256": {NAME: hashlib.sha256(LOG).hexdigest()}}
# As much of MXNet and NumPy as shows that they were installed. The real ones have 300 MB.
MXNET = """
__version__ = "1.9.9"
class nd:
    ones = classmethod(lambda cls, shape: cls())
    def __mul__(self, factor): return self
    def sum(self): return self
    def asscalar(self): return 12.0
"""


@pytest.fixture
def unplugged(lab: Lab) -> Iterator[Lab]:
    """The lab; whoever uses it may stop its package caches."""
    yield lab
    if not lab.cache.running():
        lab.cache.start()
        lab.cache.wait_ready()


def logs_source(folder: Path) -> str:
    """Variables that say where the tuning logs are, when the bundle is made."""
    folder.mkdir()
    (folder / NAME).write_bytes(LOG)
    return json.dumps({"tophub_source": {"kind": "folder", "path": str(folder)}, "tophub_cache": str(folder / "cache")})


def wheel(folder: Path, name: str, version: str, program: str) -> dict[str, str]:
    """A wheel of one module in `folder`: its row in a table of playbooks/vars/mxnet.yml."""
    path = make_wheel(folder, name, version, {f"{name}.py": program})
    return {"name": path.name, "pin": f"{name}=={version}", "sha256": file_sha256(path)}


def mxnet(folder: Path) -> dict[str, Any]:
    """Variables that name small wheels, which lie in `folder`."""
    numpy = wheel(folder, "numpy", "1.23.99", "__version__ = '1.23.99'\n")
    return {
        "tvmops_mxnet": True,
        "mxnet_wheels": [{**wheel(folder, "mxnet", "1.9.9", MXNET), "cuda": ""}],
        "mxnet_numpy": [{"pythons": ["3.11"], "pin": numpy["pin"], "sha256": [numpy["sha256"]]}],
        "mxnet_others": [],
        "mxnet_libraries": [],
    }


def small_sweep(path: Path) -> dict[str, str]:
    """A sweep file with the smallest model of sweeps/smoke.yml; the model's source."""
    smoke = yaml.safe_load((project_root() / "sweeps" / "smoke.yml").read_text())
    workload = next(one for one in smoke["workloads"] if one["name"] == "basic_pitch")
    path.write_text(yaml.safe_dump({"workloads": [workload]}))
    source: dict[str, str] = workload["source"]
    return source


def test_a_board_without_a_network_is_provisioned_from_a_bundle(unplugged: Lab, tmp_path: Path) -> None:
    lab = unplugged
    lab.up(["off1"])
    commands = Commands(lab, tmp_path / "state")
    bundle = tmp_path / "fleet.bundle"
    model, given = small_sweep(tmp_path / "small.yml"), logs_source(tmp_path / "logs")
    wanted = json.dumps({**PACKAGES, **LOGS, **mxnet(tmp_path / "index")})
    commands.environment["PIP_FIND_LINKS"] = str(tmp_path / "index")
    options = ("-e", wanted, "-e", given, "--sweep", str(tmp_path / "small.yml"))
    said = commands.on("bundle.create", "--host", "off1", *options, "--output", str(bundle))
    assert " packages, release " in said
    assert "1 tuning logs, 2 wheels of MXNet" in said
    assert "sweep small: 1 files of models" in said
    assert "not in it" not in said
    mirror = lab.cache.variables()["apt_mirror"]
    lab.cache.stop()
    assert shell(lab, "off1", REACHES.format(url=f"{mirror}/dists/bookworm/InRelease")).endswith("no")

    # Another machine has none of it in its cache.
    shutil.rmtree(tmp_path / "logs")
    shutil.rmtree(tmp_path / "index")
    commands.environment |= {"TVMOPS_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1"}
    apply = ("bundle.apply", "--bundle", str(bundle), "-e", wanted)
    said = commands.on(*apply, "--host", "off1")
    assert "the models of sweep small are here: tvmops sweep " in said
    assert list((tmp_path / "cache" / "wheels" / model["wheel_sha256"]).glob("*.whl"))
    assert fetch(model, tmp_path / "cache").sha256 == model["sha256"]
    assert shell(lab, "off1", f"cat /opt/tvmops/tophub/{NAME}") == LOG.decode().strip()
    assert shell(lab, "off1", "cat /opt/tvmops/mxnet/.complete") == "MXNet 1.9.9, NumPy 1.23.99"
    assert "file:/var/lib/tvmops/bundle/" in shell(lab, "off1", "cat /etc/apt/sources.list")
    assert shell(lab, "off1", "zstd --version && systemctl is-active tvm-rpc-server").endswith("active")
    assert "changed=0 " in commands.on(*apply, "--host", "off1")

    said = commands.on(*apply, "--host", "b1", rc=17)
    assert "it was not made for b1" in said
    broken = tmp_path / "broken.bundle"
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    commands.environment["TVMOPS_CACHE"] = str(tmp_path / "empty")  # what was unpacked before would do
    said = commands.on("bundle.apply", "--bundle", str(broken), "--host", "off1", rc=17)
    assert "is damaged" in said
