"""Memory of builds: how many jobs it is enough for, and where swap can be added."""

from __future__ import annotations

import os
import time
from pathlib import Path

import memory
import pytest
import swap

MB = 1 << 20


@pytest.mark.parametrize(
    ("room", "cores", "most", "expected"),
    [
        (24000, 8, None, (8, 6)),
        (24000, 4, None, (4, 4)),
        (3100, 4, None, (2, 1)),
        (900, 4, None, (1, 1)),
        (24000, 8, 3, (3, 3)),
    ],
)
def test_jobs_by_memory(room: int, cores: int, most: int | None, expected: tuple[int, int]) -> None:
    assert memory.jobs(room * MB, cores, 1500 * MB, 4000 * MB, most) == expected


MEMINFO = "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\nSwapTotal: 2000000 kB\nSwapFree: 1500000 kB\n"
SWAPS = "Filename Type Size Used Priority\n/dev/zram0 partition 1000000 0 5\n/swap file 1000000 500000 -2\n"
UNIFIED = "/sys/fs/cgroup"


def files(monkeypatch: pytest.MonkeyPatch, content: dict[str, str]) -> None:
    monkeypatch.setattr(memory.probe, "read", lambda path: content.get(os.path.normpath(path), ""))
    folders = {str(parent) for path in content for parent in Path(path).parents}
    monkeypatch.setattr(memory.os.path, "isdir", lambda path: os.path.normpath(path) in folders)


def test_swap_on_zram_counts_half(monkeypatch: pytest.MonkeyPatch) -> None:
    files(monkeypatch, {"/proc/meminfo": MEMINFO, "/proc/swaps": SWAPS})
    assert memory.available() == (3000000 + 500000 + 500000) * 1024
    assert memory.available(swap=False) == 3000000 * 1024


@pytest.mark.parametrize("inside", [True, False])
def test_the_tightest_control_group_counts(monkeypatch: pytest.MonkeyPatch, inside: bool) -> None:
    # Inside a container the group's path may be the host's, which is not there.
    folder = f"{UNIFIED}/a" if inside else UNIFIED
    group = {
        "/proc/self/cgroup": "0::/a/b\n" if inside else "0::/not/here\n",
        f"{UNIFIED}/a/b/memory.max": "max\n",
        f"{folder}/memory.max": str(800 * MB),
        f"{folder}/memory.current": str(300 * MB),
        f"{folder}/memory.stat": f"anon 5\ninactive_file {90 * MB}\nactive_file {10 * MB}\n",
        f"{folder}/memory.swap.max": str(200 * MB),
        f"{folder}/memory.swap.current": str(50 * MB),
    }
    files(monkeypatch, {"/proc/meminfo": MEMINFO, "/proc/swaps": SWAPS, **group})
    assert memory.available() == (600 + 150) * MB


def test_control_groups_of_the_first_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "/sys/fs/cgroup/memory/a"
    group = {
        "/proc/self/cgroup": "9:cpu,cpuacct:/\n4:memory:/a\n0::/\n",
        f"{folder}/memory.limit_in_bytes": str(800 * MB),
        f"{folder}/memory.usage_in_bytes": str(700 * MB),
        f"{folder}/memory.stat": f"total_inactive_file {50 * MB}\ntotal_active_file 0\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1",
    }
    files(monkeypatch, {"/proc/meminfo": MEMINFO, "/proc/swaps": "", **group})
    assert memory.available() == 150 * MB


def test_a_clock_that_went_back(tmp_path: Path) -> None:
    assert memory.clock_behind(str(tmp_path)) == 0
    (tmp_path / "CMakeCache.txt").touch()
    assert memory.clock_behind(str(tmp_path)) == 0
    later = time.time() + 1000
    os.utime(tmp_path / "CMakeCache.txt", (later, later))
    assert 990 < memory.clock_behind(str(tmp_path)) <= 1000


def test_swap_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = swap.Swap(str(tmp_path))
    monkeypatch.setattr(swap.os, "getuid", lambda: 1000)
    assert not one.need(MB)
    assert one.refused == "only root can add swap"
    monkeypatch.setattr(swap.os, "getuid", lambda: 0)
    for kind, device_name, said in (
        ("tmpfs", "tmpfs", "which cannot hold swap"),
        ("overlay", "overlay", "which cannot hold swap"),
        ("ext4", "/dev/zram1", "in memory itself"),
    ):
        monkeypatch.setattr(swap, "filesystem", lambda _folder, found=(kind, device_name): found)
        assert not one.need(MB)
        assert said in one.refused
    monkeypatch.setattr(swap, "filesystem", lambda _folder: ("ext4", "/dev/sda1"))
    monkeypatch.setattr(swap.probe, "free_bytes", lambda _folder: 900 * MB)
    assert not one.need(MB)
    assert "900 MB of disk are free" in one.refused
    assert list(tmp_path.iterdir()) == []


def test_the_file_system_of_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "/dev/a / ext4 rw 0 0\n/dev/b /mnt/my\\040disk xfs rw 0 0\ntmpfs /mnt tmpfs rw 0 0\n"
    monkeypatch.setattr(swap.probe, "read", lambda _path: mounts)
    assert swap.filesystem("/home/x") == ("ext4", "/dev/a")
    assert swap.filesystem("/mnt/my disk/x") == ("xfs", "/dev/b")
    assert swap.filesystem("/mnt/my") == ("tmpfs", "tmpfs")
