"""Conditions of a measurement, read from recorded boards and from this machine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import given
from hypothesis import strategies as st

from tvmops.agent import conditions
from tvmops.agent.facts.board import Board

BOARDS = Path(__file__).parent / "boards"
NVPMODEL = "NV Fan Mode:quiet\nNV Power Mode: MAXN\n0\n"
PINNED = (
    "SOC family:tegra210  Machine:NVIDIA Jetson Nano Developer Kit\nOnline CPUs: 0-3\nCPU Cluster Switching: Disabled\n"
    "cpu0: Online=1 Governor=schedutil MinFreq={low} MaxFreq=1479000 CurrentFreq=1479000 IdleStates: WFI=0 c7=0 \n"
    "cpu1: Online=1 Governor=schedutil MinFreq={low} MaxFreq=1479000 CurrentFreq=1479000 IdleStates: WFI=0 c7=0 \n"
)


def conditions_of(name: str) -> dict[str, Any]:
    return conditions.collect(Board(str(BOARDS / name), "armv7l", 32), sample=0)


def test_raspberry_pi() -> None:
    found = conditions_of("rpi3b")
    assert found["cpus"][0] == {
        "cpu": 0,
        "online": True,
        "cur_khz": 600000,
        "min_khz": 600000,
        "max_khz": 1200000,
        "hardware_max_khz": 1200000,
        "governor": "ondemand",
    }
    assert found["thermal"] == [{"zone": "thermal_zone0", "type": "cpu-thermal", "celsius": 58.002}]
    assert found["throttled"] == {
        "raw": 0x50005,
        "now": ["under_voltage", "throttled"],
        "since_boot": ["under_voltage", "throttled"],
    }
    assert found["loadavg"] == [0.10, 0.20, 0.30]
    assert found["processes_running"] == 0
    assert found["uptime_seconds"] == 3600.25
    assert found["memory_available_bytes"] == 600000 * 1024
    assert found["turbo"] is None
    assert found["jetson"] is None


def test_jetson_has_gpu_clocks_and_many_zones() -> None:
    found = conditions_of("jetson-nano")
    assert {"CPU-therm": 36.0, "GPU-therm": 35.5}.items() <= {
        zone["type"]: zone["celsius"] for zone in found["thermal"]
    }.items()
    assert found["devices"][0]["name"] == "57000000.gpu"
    assert found["devices"][0]["max_hz"] == 921600000
    assert found["jetson"] == {"power_mode": None, "clocks_pinned": None, "tegrastats": None}
    assert found["clock_source"] == "arch_sys_counter"


def test_jetson_programs() -> None:
    assert conditions.parse_nvpmodel(NVPMODEL) == "MAXN"
    assert conditions.parse_jetson_clocks(PINNED.format(low=1479000)) is True
    assert conditions.parse_jetson_clocks(PINNED.format(low=102000)) is False
    assert conditions.parse_jetson_clocks("") is None


def test_x86_turbo_and_throttle_counts() -> None:
    nuc = conditions_of("nuc")
    assert nuc["turbo"] is True
    assert nuc["thermal_throttle"] == {"core": 3, "package": 5}
    assert conditions_of("server")["turbo"] is False


def test_an_empty_board_has_conditions_too(tmp_path: Path) -> None:
    found = conditions.collect(Board(str(tmp_path), "riscv64", 64), sample=0)
    assert found["cpus"] == []
    assert found["boot_id"] is None
    json.dumps(found)


def test_this_machine_and_who_is_busy_on_it(board: Driver) -> None:
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        result = board.task("conditions", {"sample": 0.5}, check=True)
    finally:
        busy.kill()
        busy.wait()
    found = result["conditions"]
    assert result["changed"] is False
    assert len(found["cpus"]) >= len(os.sched_getaffinity(0))
    assert found["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert found["memory_available_bytes"] > 0
    users = {one["pid"]: one for one in found["top"]}
    assert users[busy.pid]["comm"] == "sh"
    assert 0 < users[busy.pid]["percent"] < 250


@pytest.mark.parametrize(
    ("raw", "now", "since"),
    [
        ("throttled=0x0", [], []),
        ("throttled=0x4", ["throttled"], []),
        ("0x80008", ["soft_temperature_limit"], ["soft_temperature_limit"]),
        ("20002", ["frequency_capped"], ["frequency_capped"]),
    ],
)
def test_throttled_bits(raw: str, now: list[str], since: list[str]) -> None:
    decoded = conditions.decode_throttled(raw)
    assert decoded is not None
    assert (decoded["now"], decoded["since_boot"]) == (now, since)


@given(st.text())
def test_no_text_crashes_a_parser(text: str) -> None:
    conditions.decode_throttled(text)
    conditions.parse_nvpmodel(text)
    conditions.parse_jetson_clocks(text)
    conditions.parse_stat(text)
    conditions.load(text)


@given(st.text(st.characters(blacklist_characters="\n\0"), max_size=15), st.integers(0, 10**9), st.integers(0, 10**9))
def test_any_process_name_is_parsed(comm: str, user: int, system: int) -> None:
    line = f"42 ({comm}) S 1 42 42 0 -1 4194560 100 0 0 0 {user} {system} 0 0 20 0 1 0 100"
    assert conditions.parse_stat(line) == (comm, user + system)


@given(
    st.dictionaries(st.integers(2, 99), st.integers(0, 10**6)),
    st.dictionaries(st.integers(2, 99), st.integers(0, 10**6)),
)
def test_top_users_are_sorted_and_positive(before: dict[int, int], after: dict[int, int]) -> None:
    top = conditions.top_users(
        {pid: ("x", ticks) for pid, ticks in before.items()}, {pid: ("x", ticks) for pid, ticks in after.items()}, 0.2
    )
    assert len(top) <= conditions.TOP
    percents = [one["percent"] for one in top]
    assert percents == sorted(percents, reverse=True)
    assert all(percent > 0 for percent in percents)
