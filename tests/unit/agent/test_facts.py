"""Facts: what six kinds of boards look like through recorded trees, and this machine through the agent."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import given
from hypothesis import strategies as st

from tvmops.agent import facts
from tvmops.agent.facts import cpu, distribution, hardware, local, network, toolchain
from tvmops.agent.facts import platform as names
from tvmops.agent.facts.board import Board, colon_values, key_values

BOARDS = Path(__file__).parent / "boards"
MACHINES = {
    "jetson-nano": ("aarch64", 64),
    "rpi3b": ("armv7l", 32),
    "rk3288": ("armv7l", 32),
    "pynq-z1": ("armv7l", 32),
    "nuc": ("x86_64", 64),
    "server": ("x86_64", 64),
}
EXPECTED: dict[str, dict[str, Any]] = {
    "jetson-nano": {
        "ansible_architecture": "aarch64",
        "ansible_distribution": "Ubuntu",
        "ansible_distribution_version": "18.04",
        "ansible_distribution_major_version": "18",
        "ansible_distribution_release": "bionic",
        "ansible_kernel": "4.9.253-tegra",
        "ansible_processor_vcpus": 4,
        "ansible_memtotal_mb": 3964,
        "tvmops_device_tree_model": "NVIDIA Jetson Nano Developer Kit",
        "tvmops_l4t": "32.7.1",
        "tvmops_jetpack": "4.6.1",
        "tvmops_cuda": "10.2.300",
        "tvmops_glibc": "2.27",
        "tvmops_float_abi": None,
        "tvmops_abi": "aarch64-linux-gnu-glibc2.27",
    },
    "rpi3b": {
        "ansible_architecture": "armv7l",
        "ansible_userspace_architecture": "armv7l",
        "ansible_distribution": "Debian",
        "ansible_distribution_version": "12.4",
        "ansible_distribution_release": "bookworm",
        "ansible_processor_count": 4,
        "ansible_processor_nproc": 4,
        "tvmops_device_tree_model": "Raspberry Pi 3 Model B Rev 1.2",
        "tvmops_l4t": None,
        "tvmops_float_abi": "hard",
        "tvmops_abi": "arm-linux-gnueabihf-glibc2.36",
    },
    "rk3288": {
        "ansible_distribution_release": "xenial",
        "tvmops_device_tree_model": "Firefly-RK3288",
        "tvmops_opencl_icds": {"mali": "/usr/lib/arm-linux-gnueabihf/libmali.so"},
        "tvmops_float_abi": "hard",
        "tvmops_abi": "arm-linux-gnueabihf-glibc2.23",
    },
    "pynq-z1": {
        "ansible_distribution": "Ubuntu",
        "ansible_os_family": "Debian",
        "ansible_processor_vcpus": 2,
        "ansible_swaptotal_mb": 511,
        "tvmops_abi": "arm-linux-gnueabihf-glibc2.27",
    },
    "nuc": {
        "ansible_processor_count": 1,
        "ansible_processor_cores": 4,
        "ansible_processor_threads_per_core": 2,
        "ansible_processor_vcpus": 8,
        "ansible_product_name": "NUC8i5BEH",
        "ansible_system_vendor": "Intel(R) Client Systems",
        "ansible_virtualization_role": "NA",
        "ansible_fqdn": "nuc.lab.example",
        "ansible_domain": "lab.example",
        "tvmops_device_tree_model": None,
        "tvmops_cuda": None,
        "tvmops_abi": "x86_64-linux-gnu-glibc2.36",
    },
    "server": {
        "ansible_processor_count": 2,
        "ansible_processor_cores": 2,
        "ansible_processor_vcpus": 8,
        "ansible_virtualization_type": "kvm",
        "ansible_virtualization_role": "host",
        "tvmops_cuda": "11.8.20220929",
    },
}
CLUSTERS = {
    "jetson-nano": [{"cpus": [0, 1, 2, 3], "part": "Cortex-A57", "max_khz": 1479000}],
    "rpi3b": [{"cpus": [0, 1, 2, 3], "part": "Cortex-A53", "max_khz": 1200000}],
    "rk3288": [{"cpus": [0, 1, 2, 3], "part": "Cortex-A17", "max_khz": 1608000}],
    "pynq-z1": [{"cpus": [0, 1], "part": "Cortex-A9", "max_khz": 650000}],
}
FILES = [
    *("proc/cpuinfo", "proc/meminfo", "proc/mounts", "proc/net/route", "proc/uptime", "proc/loadavg", "proc/cmdline"),
    *("proc/modules", "proc/1/cgroup", "proc/1/environ", "etc/os-release", "etc/lsb-release", "etc/debian_version"),
    *("etc/hosts", "etc/resolv.conf", "etc/nv_tegra_release", "etc/ansible/facts.d/a.fact", "sys/class/net/e/mtu"),
    *("usr/local/cuda/version.json", "usr/lib/libstdc++.so.6", "usr/lib/libc.so.6"),
]
LIBSTDCXX = {"jetson-nano": ("3.4.25", "1.3.11"), "rk3288": ("3.4.21", "1.3.9"), "nuc": ("3.4.30", "1.3.13")}


def board(name: str) -> Board:
    machine, bits = MACHINES[name]
    return Board(str(BOARDS / name), machine, bits)


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_a_kind_of_board(name: str) -> None:
    found = facts.gather(board(name))
    assert "tvmops_fact_errors" not in found
    assert {key: found[key] for key in EXPECTED[name]} == EXPECTED[name]
    assert found["ansible_os_family"] == "Debian"
    assert found["ansible_pkg_mgr"] == "apt"
    assert found["ansible_service_mgr"] == "systemd"
    assert found["ansible_hostname"] in name.replace("-", "") or found["ansible_hostname"] in ("pi3", "firefly")
    assert [mount["mount"] for mount in found["ansible_mounts"]] == ["/"]
    assert found["tvmops_cpu"]["features"]
    json.dumps(found)
    if name in CLUSTERS:
        assert found["tvmops_cpu"]["clusters"] == CLUSTERS[name]
    if name in LIBSTDCXX:
        runtime = found["tvmops_libstdcxx"]
        assert (runtime["glibcxx"], runtime["cxxabi"]) == LIBSTDCXX[name]


def test_features_that_decide_a_target() -> None:
    assert "neon" in facts.gather(board("rpi3b"))["tvmops_cpu"]["features"]
    assert "asimd" in facts.gather(board("jetson-nano"))["tvmops_cpu"]["features"]
    assert "avx512_vnni" in facts.gather(board("server"))["tvmops_cpu"]["features"]


def test_big_and_little_cores_are_two_clusters(tmp_path: Path) -> None:
    block = "processor\t: {}\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"
    (tmp_path / "proc").mkdir()
    text = "".join(block.format(number, "0xd03" if number < 4 else "0xd08") for number in range(6))
    (tmp_path / "proc/cpuinfo").write_text(text)
    found = facts.gather(Board(str(tmp_path), "aarch64", 64), ["cpu"])["tvmops_cpu"]
    assert [(one["part"], one["cpus"]) for one in found["clusters"]] == [
        ("Cortex-A53", [0, 1, 2, 3]),
        ("Cortex-A72", [4, 5]),
    ]


def test_a_64_bit_kernel_with_a_32_bit_userland() -> None:
    found = facts.gather(Board(str(BOARDS / "rpi3b"), "aarch64", 32))
    assert found["ansible_architecture"] == "aarch64"
    assert found["ansible_userspace_architecture"] == "armv7l"
    assert found["tvmops_abi"] == "arm-linux-gnueabihf-glibc2.36"


def test_an_empty_board_has_facts_and_no_errors(tmp_path: Path) -> None:
    found = facts.gather(Board(str(tmp_path), "aarch64", 64))
    assert "tvmops_fact_errors" not in found
    assert found["tvmops_libstdcxx"] is None
    assert found["ansible_mounts"] == []


def test_this_machine(board: Driver) -> None:
    result = board.task("setup", {})
    found = result["ansible_facts"]
    assert result["changed"] is False
    assert "tvmops_fact_errors" not in found
    assert found["ansible_kernel"] == platform.release()
    assert found["ansible_machine"] == platform.machine()
    assert found["ansible_user_uid"] == os.getuid()
    assert found["ansible_processor_nproc"] == len(os.sched_getaffinity(0))
    assert found["tvmops_glibc"] == platform.libc_ver()[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    assert abs(found["ansible_memtotal_mb"] - memory) <= 1
    root = next(mount for mount in found["ansible_mounts"] if mount["mount"] == "/")
    status = os.statvfs("/")
    assert root["size_total"] == status.f_frsize * status.f_blocks


def test_subsets_and_filters(board: Driver) -> None:
    def gather(**args: Any) -> set[str]:
        return set(board.task("setup", args)["ansible_facts"])

    minimal = gather(gather_subset=["!all"])
    assert "ansible_distribution" in minimal
    assert "ansible_mounts" not in minimal
    assert "ansible_mounts" in gather(gather_subset=["hardware"])
    assert "ansible_default_ipv4" not in gather(gather_subset=["!network"])
    assert gather(gather_subset=["!all", "!min", "toolchain"]) >= {"tvmops_glibc"}
    assert "ansible_kernel" not in gather(gather_subset=["!all", "!min", "toolchain"])
    assert gather(filter=["ansible_python_version"]) == {"ansible_python_version"}
    assert gather(filter=["python_v*", "tvmops_glibc"]) == {"ansible_python_version", "tvmops_glibc"}
    wrong = board.task("setup", {"gather_subset": ["netwrok"]})
    assert wrong["failed"]
    assert "netwrok" in wrong["msg"]


def test_local_facts(board: Driver, tmp_path: Path) -> None:
    (tmp_path / "plain.fact").write_text('{"rack": 3}')
    (tmp_path / "ini.fact").write_text("[power]\nsupply = 5V 4A\n")
    (tmp_path / "bad.fact").write_text("neither")
    program = tmp_path / "program.fact"
    program.write_text("#!/bin/sh\necho '{\"answer\": 42}'\n")
    program.chmod(0o755)
    failing = tmp_path / "failing.fact"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    found = board.task("setup", {"gather_subset": ["!all"], "fact_path": str(tmp_path)})["ansible_facts"]
    assert found["ansible_local"]["plain"] == {"rack": 3}
    assert found["ansible_local"]["ini"] == {"power": {"supply": "5V 4A"}}
    assert found["ansible_local"]["program"] == {"answer": 42}
    assert "error" in found["ansible_local"]["bad"]
    assert "failed" in found["ansible_local"]["failing"]


def test_a_fact_program_that_hangs_is_stopped(tmp_path: Path) -> None:
    program = tmp_path / "slow.fact"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    started = time.monotonic()
    found = local.collect(Board(), str(tmp_path))["ansible_local"]
    assert "longer than 2 s" in found["slow"]
    assert time.monotonic() - started < 10


def test_default_route_takes_the_lowest_metric() -> None:
    table = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    )
    assert network.default_route(table) == ("192.168.0.1", "eth0")
    assert network.default_route("") == ("", "")


def test_l4t_texts() -> None:
    assert hardware.l4t("# R32 (release), REVISION: 4.4, GCID: 23942405") == "32.4.4"
    assert hardware.l4t("# R36 (release), REVISION: 3.0, GCID: 36923193") == "36.3.0"
    assert hardware.l4t("# R35 (release), REVISION: 6, GCID: 1") == "35.6.0"


@given(st.text())
def test_no_text_crashes_a_parser(text: str) -> None:
    pairs = colon_values(text)
    cpu.describe(pairs, Board("/nonexistent", "armv7l", 32))
    key_values(text)
    hardware.l4t(text)
    local.parse(text, "x.fact")
    network.default_route(text)


@given(st.binary())
def test_no_file_content_crashes_a_collector(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("board")
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert "tvmops_fact_errors" not in facts.gather(Board(str(root), "armv7l", 32))


@given(st.lists(st.lists(st.integers(0, 99), min_size=2, max_size=4), min_size=1))
def test_the_newest_symbol_version_is_the_greatest_number(versions: list[list[int]]) -> None:
    texts = [".".join(map(str, one)) for one in versions]
    content = b"\0".join(b"GLIBCXX_" + text.encode() for text in texts)
    assert toolchain.newest(content, b"GLIBCXX_") == ".".join(map(str, max(versions)))


def test_names_without_dns() -> None:
    assert names.canonical_name("pi", "127.0.1.1 pi\n") == "pi"
    assert names.canonical_name("pi", "127.0.1.1 pi.lan pi # x\n") == "pi.lan"
    assert names.canonical_name("pi", "") == "pi"


def test_distribution_of_a_derivative(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Armbian"\nID=armbian\nID_LIKE=debian\nVERSION_ID="23.8"\n')
    found = distribution.collect(Board(str(tmp_path), "armv7l", 32))
    assert (found["ansible_distribution"], found["ansible_os_family"]) == ("Armbian", "Debian")
