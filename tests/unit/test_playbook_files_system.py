"""Programs that set clocks and make swap files, against a reproduced /proc."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_program import program

clock = program("set_clock")
swap = program("swap_file")
MB = 1 << 20


# -- the clock


class Board:
    """A board's clock and uptime, as the program sees them; `now` is the right time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.off, self.up, self.now = 0.0, 100.0, 1.8e9
        self.set_to: float | None = None
        self.error: OSError | None = None
        monkeypatch.setattr(clock, "uptime", lambda: self.up)
        monkeypatch.setattr(clock, "keep", lambda: "")
        monkeypatch.setattr(clock, "SYSTEM_FILES", (str(tmp_path / "os-release"),))
        monkeypatch.setattr(clock.time, "time", lambda: self.now + self.off)
        monkeypatch.setattr(clock.time, "clock_settime", self._set)

    def _set(self, which: int, seconds: float) -> None:
        assert which == time.CLOCK_REALTIME
        if self.error:
            raise self.error
        self.set_to = seconds

    def ask(self, since: float = 0.2, **asked: Any) -> tuple[int, str]:
        """The board said its uptime `since` seconds ago; the controller's time was read half way."""
        question = {"controller": self.now - since / 2, "uptime": self.up - since, "tolerance": 5, "delay": 20}
        result: tuple[int, str] = clock.work({**question, "check": False, **asked})
        return result


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Board:
    return Board(monkeypatch, tmp_path)


def test_a_clock_that_is_right_is_left_alone(board: Board) -> None:
    for board.off in (0.0, 4.9, -4.9):
        assert board.ask()[0] == clock.RIGHT
    assert board.set_to is None


def test_a_board_without_a_clock_of_its_own_is_set(board: Board) -> None:
    board.off = -245 * 86400.0
    status, text = board.ask(check=True)
    assert (status, board.set_to) == (clock.SET, None)
    assert "245 days slow" in text
    assert "would be set" in text
    status, text = board.ask()
    assert status == clock.SET
    assert board.set_to == pytest.approx(board.now, abs=0.01)


def test_a_slow_link_makes_it_inexact_and_a_stuck_one_sets_nothing(board: Board) -> None:
    board.off = 9.0
    assert board.ask(since=2)[0] == clock.SET
    assert board.ask(since=12)[0] == clock.RIGHT  # 9 s are within 5 and the 6 that nobody knows
    board.set_to, board.off = None, 1e6
    status, text = board.ask(since=21)
    assert (status, board.set_to) == (clock.WRONG, None)
    assert text.startswith("21.0 s passed")


def test_the_controller_may_be_the_one_that_is_wrong(board: Board, tmp_path: Path) -> None:
    (tmp_path / "os-release").touch()
    os.utime(tmp_path / "os-release", (board.now, board.now))
    board.now -= 400 * 86400
    board.off = 400 * 86400.0
    status, text = board.ask()
    assert (status, board.set_to) == (clock.WRONG, None)
    assert "set the controller's clock" in text


def test_a_system_that_may_not_set_it_says_so(board: Board) -> None:
    board.off, board.error = 3600.0 * 5, PermissionError(1, "Operation not permitted")
    status, text = board.ask()
    assert status == clock.WRONG
    assert "5 hours fast" in text
    assert "may not set it (Operation not permitted)" in text


# -- swap files

SWAPPING = """#!/bin/sh
size=$(($(stat -c %s "$1") / 1024))
case $0 in
*/swapon) [ ! -e {proc}/refuse ] || { rm -f {proc}/refuse; echo "swapon: swapon failed: Invalid argument"; exit 255; }
    echo "$1 file $size 0 -2" >> {proc}/swaps ;;
*/swapoff) grep -v "^$1 " {proc}/swaps > {proc}/less; mv {proc}/less {proc}/swaps ;;
esac
"""


class Machine:
    """A reproduced /proc, and swapon and swapoff that work on it; all else is real."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc, self.path = folder / "proc", folder / "disk" / "swapfile"
        for name in ("proc", "bin"):
            (folder / name).mkdir()
        self.write("mounts", "/dev/mmcblk0p1 / ext4 rw,noatime 0 0\ntmpfs /run tmpfs rw 0 0\n")
        self.swaps()
        self.write("meminfo", "MemTotal: 1000000 kB\nMemFree: 10000 kB\nMemAvailable: 500000 kB\n")
        for name in ("swapon", "swapoff"):
            (folder / "bin" / name).write_text(SWAPPING.replace("{proc}", str(self.proc)))
            (folder / "bin" / name).chmod(0o755)
        monkeypatch.setattr(swap, "PROC", str(self.proc))
        monkeypatch.setattr(swap, "CONTAINER", str(self.proc / "container"))
        monkeypatch.setattr(swap, "RESERVE_MB", 1)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        self.monkeypatch = monkeypatch

    def write(self, name: str, text: str) -> None:
        (self.proc / name).write_text(text)

    def swaps(self, *rows: str) -> None:
        self.write("swaps", "\n".join(("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority", *rows)) + "\n")

    def ask(self, **asked: Any) -> int:
        question = {"path": str(self.path), "mb": 16, "state": "present", "force": False, "now": True, "check": False}
        self.monkeypatch.setenv("TVMOPS_SWAP", json.dumps({**question, **asked}))
        status: int = swap.main()
        return status

    def used(self) -> set[str]:
        return set(swap.swaps())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    return Machine(tmp_path, monkeypatch)


def test_a_swap_file_comes_grows_and_goes(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.ask(check=True) == swap.CHANGED
    assert not machine.path.parent.exists()
    assert machine.ask() == swap.CHANGED
    about = machine.path.stat()
    assert (about.st_size, about.st_mode & 0o777) == (16 * MB, 0o600)
    assert about.st_blocks * 512 >= 16 * MB  # no holes
    assert machine.used() == {str(machine.path)}
    assert machine.ask() == machine.ask(check=True) == swap.RIGHT
    assert machine.ask(mb=17) == swap.CHANGED
    assert machine.path.stat().st_size == 17 * MB
    assert machine.used() == {str(machine.path)}
    assert machine.ask(state="absent", check=True) == swap.CHANGED
    assert machine.used()
    assert machine.ask(state="absent") == swap.CHANGED
    assert (machine.used(), machine.path.exists()) == (set(), False)
    assert machine.ask(state="absent") == swap.RIGHT


def test_for_the_next_start_only(machine: Machine) -> None:
    machine.write("container", "systemd-nspawn\n")
    assert machine.ask() == swap.WRONG
    assert machine.ask(now=False) == swap.CHANGED
    assert (machine.used(), machine.path.exists()) == (set(), True)
    assert machine.ask(now=False) == swap.RIGHT


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("tmpfs", "in memory itself"), ("overlay", "two file systems"), ("btrfs", "copies what"), ("nfs4", "the network")],
)
def test_file_systems_that_cannot_hold_one(machine: Machine, capsys: Any, kind: str, reason: str) -> None:
    place = machine.path.parent.parent
    machine.write("mounts", f"/dev/root / ext4 rw 0 0\nx {place} {kind} rw 0 0\n/dev/other {place}x ext4 rw 0 0\n")
    assert machine.ask() == machine.ask(force=True) == swap.WRONG
    assert reason in capsys.readouterr().out
    assert not machine.path.parent.exists()


def test_compressed_memory_as_on_jetson_boards_is_named_and_can_be_overruled(machine: Machine, capsys: Any) -> None:
    machine.swaps("/dev/zram0 partition 507408 0 5", "/dev/zram1 partition 507408 0 5")
    assert machine.ask() == swap.WRONG
    assert "/dev/zram0, /dev/zram1" in capsys.readouterr().out
    assert machine.ask(force=True) == swap.CHANGED
    assert machine.used() == {"/dev/zram0", "/dev/zram1", str(machine.path)}
    assert machine.ask(state="absent") == swap.CHANGED
    assert machine.used() == {"/dev/zram0", "/dev/zram1"}


def test_a_script_that_takes_the_swap_away_is_noticed(machine: Machine, capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "bin" / "swapon").write_text("#!/bin/sh\nexit 0\n")
    assert machine.ask() == swap.WRONG
    assert "does not list" in capsys.readouterr().out
    assert not machine.path.exists()


def test_a_file_system_that_reserves_holes_gets_zeros_instead(machine: Machine) -> None:
    machine.write("refuse", "")
    assert machine.ask() == swap.CHANGED
    assert machine.used() == {str(machine.path)}


def test_what_is_in_it_must_fit_into_memory(machine: Machine, capsys: Any) -> None:
    assert machine.ask() == swap.CHANGED
    machine.swaps(f"{machine.path} file 16384 600000 -2")
    assert machine.ask(state="absent") == swap.WRONG
    assert "holds 585 MB and 488 MB of memory are free" in capsys.readouterr().out
    assert machine.path.exists()


def test_other_files_and_small_disks_are_left_alone(machine: Machine, capsys: Any) -> None:
    machine.path.parent.mkdir()
    machine.path.write_text("somebody's notes\n" * 999)
    assert machine.ask() == swap.WRONG
    assert machine.path.read_text().startswith("somebody's notes")
    machine.path.unlink()
    assert machine.ask(mb=1 << 20) == machine.ask(mb=1) == swap.WRONG
    out = capsys.readouterr().out
    assert "no swap file: it stays" in out
    assert "no room for 1048576 MB" in out
    assert "at least 16" in out
    assert list(machine.path.parent.iterdir()) == []


def test_what_is_no_swap_file_is_not_removed_either(machine: Machine, capsys: Any) -> None:
    machine.path.mkdir(parents=True)
    assert machine.ask(state="absent") == swap.WRONG
    machine.path.rmdir()
    machine.path.write_text("somebody's notes\n" * 999)
    assert machine.ask(state="absent", check=True) == machine.ask(state="absent") == swap.WRONG
    assert machine.path.exists()
    partition = machine.path.with_name("sda2")
    partition.symlink_to(machine.path)
    machine.swaps(f"{partition} partition 16384 0 -2")
    assert machine.ask(path=str(partition), state="absent") == swap.WRONG
    assert machine.used() == {str(partition)}
    out = capsys.readouterr().out
    assert out.count("is there and is no file") == 2
    assert out.count("no swap file: it stays") == 2


def test_one_that_is_in_use_stays_right_when_the_disk_has_become_full(machine: Machine) -> None:
    assert machine.ask() == swap.CHANGED
    machine.monkeypatch.setattr(swap, "RESERVE_MB", 1 << 40)
    machine.swaps(f"{machine.path} file 16384 0 -2", "/dev/zram0 partition 507408 0 5")
    assert machine.ask() == machine.ask(check=True) == swap.RIGHT
    assert machine.ask(mb=17) == swap.WRONG


def test_another_size_needs_no_room_for_both(machine: Machine) -> None:
    assert machine.ask() == swap.CHANGED
    seen = []
    fill = swap.fill
    machine.monkeypatch.setattr(swap, "fill", lambda *how: (seen.append(machine.path.exists()), fill(*how)))
    assert machine.ask(mb=17) == swap.CHANGED
    assert (seen, machine.path.stat().st_size) == ([False], 17 * MB)
