"""Running `tvmops build` for boards that exist as facts only: nothing is sent to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tvmops.inventory import FactsCache
from tvmops.inventory.model import Host

GIGABYTE = 1 << 30
COMMON: dict[str, Any] = {
    "ansible_distribution": "Debian",
    "ansible_distribution_major_version": "12",
    "ansible_distribution_version": "12",
    "ansible_distribution_release": "bookworm",
    "ansible_python_version": "3.11.2",
    "ansible_python": {"executable": "/usr/bin/python3"},
    "ansible_memtotal_mb": 4000,
    "ansible_mounts": [{"mount": "/", "size_total": 30 * GIGABYTE, "size_available": 20 * GIGABYTE}],
    "tvmops_pythons": {"/usr/bin/python3": "3.11.2"},
    "tvmops_glibc": "2.36",
    "tvmops_float_abi": None,
    "tvmops_libstdcxx": {"path": "/usr/lib/libstdc++.so.6", "glibcxx": "3.4.30", "cxxabi": "1.3.13"},
}
PI = {
    **COMMON,
    "ansible_architecture": "armv7l",
    "ansible_userspace_architecture": "armv7l",
    "tvmops_float_abi": "hard",
    "tvmops_cpu": {"model": "Cortex-A53", "features": ["half", "thumb", "vfp", "neon", "vfpv3", "vfpv4"]},
}
PINE = {
    **COMMON,
    "ansible_architecture": "aarch64",
    "ansible_userspace_architecture": "aarch64",
    "tvmops_cpu": {"model": "Cortex-A53", "features": ["fp", "asimd", "crc32"]},
}
NANO = {
    **PINE,
    "ansible_distribution": "Ubuntu",
    "ansible_distribution_major_version": "18",
    "ansible_distribution_version": "18.04",
    "ansible_distribution_release": "bionic",
    "ansible_python_version": "3.6.9",
    "tvmops_pythons": {"/usr/bin/python3": "3.6.9"},
    "tvmops_glibc": "2.27",
    "tvmops_libstdcxx": {"path": "/usr/lib/libstdc++.so.6", "glibcxx": "3.4.25", "cxxabi": "1.3.11"},
    "tvmops_cpu": {"model": "Cortex-A57", "features": ["fp", "asimd", "crc32"]},
}
X86 = {
    **COMMON,
    "ansible_architecture": "x86_64",
    "ansible_userspace_architecture": "x86_64",
    "tvmops_cpu": {"model": "x86", "features": ["fpu", "sse2"]},
}
HOSTS: dict[str, dict[str, Any]] = {"x86_64": X86, "aarch64": PINE, "armv7l": PI}


@dataclass
class Builds:
    """A controller of its own in `folder`: state, cache, store, an inventory with these boards (name -> facts).

    `shared_caches`: the user's cache and default store instead.
    """

    folder: Path
    boards: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # hosts that are no boards -> variables
    shared_caches: bool = False

    @property
    def store(self) -> Path:
        """The folder of artifacts."""
        return self.folder / "store"

    def _environment(self) -> dict[str, str]:
        own = {"TVMOPS_STATE": str(self.folder / "state")}
        if not self.shared_caches:
            own["TVMOPS_CACHE"] = str(self.folder / "cache")
        given = {name: value for name, value in os.environ.items() if name != "TVMOPS_STORE"}
        return {**given, **own, **self.environment}

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`tvmops build` with these options, on its way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        hosts = {
            name: {"ansible_host": "192.0.2.1", "tvm_stack": "relay-0.19", **self.variables.get(name, {})}
            for name in self.boards
        }
        inventory = self.folder / "hosts.yml"
        others = {name: dict(given) for name, given in self.others.items()}
        inventory.write_text(yaml.safe_dump({"all": {"children": {"boards": {"hosts": hosts}}, "hosts": others}}))
        facts = FactsCache(self.folder / "state" / "facts")
        for name, found in self.boards.items():
            facts.put(Host(name, hosts[name]), dict(found))
        command = [sys.executable, "-m", "tvmops", "build", "--host", "boards", "--inventory", str(inventory)]
        if "--store" not in options and not self.shared_caches:
            command += ["--store", str(self.store)]
        command += ["--no-ship", *options]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(),
        )

    def run(self, *options: str, timeout: float = 280.0) -> subprocess.CompletedProcess[str]:
        """`tvmops build` with these options, to its end."""
        return ended(self.start(*options), timeout)

    def given(self, done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
        """Of a run with --json: {"key", "path", "size"} of each board's artifact."""
        events = [json.loads(line) for line in done.stdout.splitlines()]
        boards: dict[str, dict[str, Any]] = next(event for event in events if event["event"] == "artifacts")["boards"]
        return boards

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Of all artifacts in the store, by architecture."""
        found = [json.loads(path.read_text()) for path in self.store.glob("*.json")]
        return {one["manifest"]["arch"]: {**one["manifest"], "key": one["key"]} for one in found}

    def archive(self, arch: str) -> bytes:
        """The packed artifact for an architecture."""
        return (self.store / f"{self.manifests()[arch]['key']}.tar.zst").read_bytes()


def ended(process: subprocess.Popen[str], timeout: float = 280.0) -> subprocess.CompletedProcess[str]:
    """What a started build said, once it has ended."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"tvmops build hung\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
