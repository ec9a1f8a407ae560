"""The lab as an inventory that tvmops and Ansible read."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tvmops.lab.board import Board

# What LLVM's x86-64 levels ask of a processor, as /proc/cpuinfo names it.
LEVEL_2 = {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}
LEVEL_3 = LEVEL_2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
LEVEL_4 = LEVEL_3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def x86_level(flags: set[str]) -> str:
    """The highest of LLVM's generic x86-64 processors that has no instruction missing from `flags`."""
    for level, needed in ((4, LEVEL_4), (3, LEVEL_3), (2, LEVEL_2)):
        if needed <= flags:
            return f"x86-64-v{level}"
    return "x86-64"


def host_cpu_flags() -> set[str]:
    """The controller's processor features."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def tvm_target(arch: str) -> dict[str, Any]:
    """TVM's target for boards of `arch`."""
    cores = os.cpu_count() or 1
    if arch == "amd64":
        native = platform.machine() == "x86_64"
        cpu = x86_level(host_cpu_flags()) if native else "x86-64-v2"
        return {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": cpu, "num-cores": cores}
    arm = {"kind": "llvm", "mattr": ["+neon"], "num-cores": cores}
    if arch == "arm64":
        return {**arm, "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"}
    # Without mfloat-abi the cross linker refuses: "uses VFP register arguments".
    return {**arm, "mtriple": "armv7l-linux-gnueabihf", "mcpu": "cortex-a7", "mfloat-abi": "hard"}


CROSS_COMPILERS = {
    "amd64": "x86_64-linux-gnu-g++",
    "arm64": "aarch64-linux-gnu-g++",
    "armhf": "arm-linux-gnueabihf-g++",
}


# An emulator's times are those of no processor, and a ratio of two of them says nothing: a few runs show that a model
# works, and onnxruntime, whose kernels are up to a hundred times slower there, is left out.
EMULATED = {"tvm_measure": {"warmup": 1, "repeat": 3, "min_repeat_ms": 0}, "tvm_baseline": "none"}


# PoCL runs OpenCL on the processor; of TVM's schedules those for Intel's graphics suit it best.
OPENCL = {"kind": "opencl", "device": "intel_graphics"}


def group_variables(arch: str) -> dict[str, Any]:
    """Variables of all the boards of one architecture."""
    values: dict[str, Any] = {"tvm_target": tvm_target(arch), "tvm_targets": {"gpu": OPENCL}}
    if arch == "armhf":
        values["tvm_stack"] = "relay-0.19"  # PyPI has no wheels of TVM for it
    native = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
    if arch != native:
        values["tvm_cross_compiler"] = CROSS_COMPILERS[arch]
        values |= EMULATED
    return values


def lab_variables(key: Path, known_hosts: Path, mirrors: dict[str, str]) -> dict[str, Any]:
    """Variables of every board of a lab."""
    return {
        "ansible_user": "admin",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={shlex.quote(str(known_hosts))} -o IdentitiesOnly=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
        "tvm_stack": "relax-0.27",
        "tvmops_shares_cpu": True,
        **mirrors,
    }


def build(boards: Sequence[Board], variables: dict[str, Any]) -> dict[str, Any]:
    """The inventory as data: group `lab`, and within it one group per architecture."""
    groups: dict[str, Any] = {}
    for arch in sorted({board.arch for board in boards}):
        hosts = {board.name: {"ansible_host": board.address} for board in boards if board.arch == arch}
        groups[f"lab_{arch}"] = {"hosts": hosts, "vars": group_variables(arch)}
    return {"all": {"children": {"lab": {"vars": variables, "children": groups}}}}


def write(path: Path, data: dict[str, Any]) -> None:
    """Write the inventory file in one step."""
    text = "# Written by tvmops at every change of the lab.\n"
    text += yaml.safe_dump(data, sort_keys=False, width=200)
    replace_file(path, text)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that readers see the old text or the new."""
    partial = path.with_name(f"{path.name}.new")
    partial.write_text(text)
    partial.rename(path)


def ssh_config(boards: Sequence[Board], key: Path, known_hosts: Path) -> str:
    """An OpenSSH configuration in which the boards go by their names."""
    lines = ["Host *", f'  IdentityFile "{key}"', "  IdentitiesOnly yes", "  StrictHostKeyChecking yes"]
    lines += [f'  UserKnownHostsFile "{known_hosts}"', "  UpdateHostKeys no", "  BatchMode yes", "  LogLevel ERROR"]
    lines += ["  ConnectTimeout 5", "  ServerAliveInterval 15", "  User root"]
    for board in boards:
        lines += [f"Host {board.name}", f"  HostName {board.address}"]
    return "\n".join(lines) + "\n"


def known_hosts(boards: Sequence[Board]) -> str:
    """The boards' host keys, as OpenSSH stores them."""
    return "".join(f"{board.address} {board.host_key}\n" for board in boards)


def as_dynamic(data: dict[str, Any]) -> dict[str, Any]:
    """The same inventory in the JSON form of Ansible's dynamic inventories."""
    lab = data["all"]["children"]["lab"]
    hostvars: dict[str, Any] = {}
    result: dict[str, Any] = {"lab": {"vars": lab["vars"], "children": sorted(lab["children"])}}
    for name, group in lab["children"].items():
        hostvars |= group["hosts"]
        result[name] = {"hosts": sorted(group["hosts"]), "vars": group["vars"]}
    return {"_meta": {"hostvars": hostvars}, "all": {"children": ["lab"]}, **result}
