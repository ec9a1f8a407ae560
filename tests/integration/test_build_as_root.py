"""Builds that run out of memory or disk for real: in a control group, with a swap file, on a full file system. Root."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from small_build import FILES, MB, PROGRAM, build, command, environment, gated, prepare, spec

from tvmops.stack.catalogue import diagnose

# About 170 MB of compiler, for most of the second that it takes.
HUNGRY = 'extern const char text%d[] = "' + "x" * 40_000_000 + '";\n'
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Group:
    """A control group with a limit of memory, of either kind."""

    def __init__(self, limit: int) -> None:
        self.old = (V1 / "memory.limit_in_bytes").exists()
        self.path = (V1 if self.old else V2) / f"tvmops-test-{secrets.token_hex(4)}"
        self.path.mkdir()
        if self.old:
            (self.path / "memory.limit_in_bytes").write_text(str(limit))
        else:
            (V2 / "cgroup.subtree_control").write_text("+memory")
            (self.path / "memory.max").write_text(str(limit))
            (self.path / "memory.swap.max").write_text("0")

    def argv(self, path: Path) -> list[str]:
        """The command line that runs the build program in it."""
        return ["sh", "-c", f"echo $$ > {self.path}/cgroup.procs; exec " + " ".join(command(path))]

    def build(self, path: Path) -> dict[str, Any]:
        """Run the build program in it; the result, with `shown`: what was printed."""
        done = subprocess.run(
            self.argv(path), capture_output=True, text=True, timeout=240, check=False, env=environment(path.parent)
        )
        *shown, last = done.stdout.splitlines()
        result: dict[str, Any] = {**json.loads(last), "shown": shown}
        return result

    def remove(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            time.sleep(0.1)


def hungry(work: Path, count: int = 3, **changes: Any) -> Path:
    """Files that each want 170 MB, compiled without the cache: two at once, if memory is not looked at."""
    files = {**FILES, **{f"parts/hungry{n}.cc": HUNGRY % n for n in range(count)}}
    return prepare(work, files, swap=False, toolchain={**spec()["toolchain"], "ccache": ""}, most_jobs=2, **changes)


@pytest.mark.parametrize(
    ("limit", "outcome", "jobs"),
    [(260 * MB, "built", 1), (110 * MB, "failed", 1)],
    ids=["enough for one", "too little"],
)
def test_memory_that_runs_out(tmp_path: Path, limit: int, outcome: str, jobs: int) -> None:
    group = Group(limit)
    try:
        result = group.build(hungry(tmp_path / "w"))
    finally:
        group.remove()
    assert (result["outcome"], result["retried"], result["jobs"]["compile"]) == (outcome, True, jobs), result
    assert result["notes"] == ["memory ran out with 2 jobs: once more with 1, from where it was"]
    log = (tmp_path / "w" / "build.log").read_text()
    found = diagnose(log)
    assert found is not None and found.id == "B11", log[-2000:]
    if outcome == "failed":
        assert "Killed signal terminated program" in result["message"]
        assert "also with half the jobs" in result["hint"]


def test_jobs_follow_the_memory_of_the_control_group(tmp_path: Path) -> None:
    group = Group(260 * MB)
    try:
        result = group.build(hungry(tmp_path / "w", count=2, memory={"compile": 170 * MB, "link": 50 * MB}))
    finally:
        group.remove()
    assert (result["outcome"], result["jobs"]["compile"], result["notes"]) == ("built", 1, []), result
    assert "retried" not in result
    assert result["largest_process"] < 260 * MB


def swaps() -> list[str]:
    return [line.split()[0] for line in Path("/proc/swaps").read_text().splitlines()[1:]]


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a real disk: swap cannot be on a tmpfs."""
    folder = Path(f"/var/tmp/tvmops-test-{secrets.token_hex(4)}")
    folder.mkdir()
    yield folder
    subprocess.run(["/usr/bin/python3", "-I", str(PROGRAM), "sweep"], check=True)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def tight() -> Iterator[Group]:
    """A control group with less memory than NEEDS."""
    group = Group(260 * MB)
    yield group
    group.remove()


NEEDS = {"compile": 300 * MB, "link": 10 * MB}


def test_swap_for_the_time_of_a_build(tight: Group, disk: Path) -> None:
    # Also when it fails.
    bad = {**FILES, "parts/5.cc": "#include <dmlc/logging.h>\n"}
    for files, outcome in ((bad, "failed"), (FILES, "built")):
        result = tight.build(prepare(disk / "w", files, memory=NEEDS))
        assert (result["outcome"], result["swap"] >= 256 * MB) == (outcome, True), result
        assert "of swap added for this build" in result["notes"][0]
        assert "removing the swap file" in result["shown"]
        assert swaps() == []
        assert not (disk / "w" / "tvmops-build.swap").exists()


def test_swap_that_a_killed_build_has_left_is_removed(tight: Group, disk: Path) -> None:
    argv = tight.argv(prepare(disk / "w", gated(disk), memory=NEEDS))
    process = subprocess.Popen(argv, env=environment(disk), start_new_session=True, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (disk / "begun").exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    left = str(disk / "w" / "tvmops-build.swap")
    assert swaps() == [left]
    # Another build leaves it alone while that one works.
    assert build(prepare(disk / "v"))["outcome"] == "built"
    assert swaps() == [left]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert swaps() == [left]
    # What it had started counts as the build, too, until it ends.
    (disk / "go").touch()
    gate = f"{disk}/w/src/gate.sh"
    end = time.monotonic() + 60
    while processes.that(lambda one: gate in one.cmdline()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert build(prepare(disk / "u"))["outcome"] == "built"
    assert swaps() == []


def test_a_disk_that_fills_up_and_has_room_again(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], check=True)
    try:
        files = {**FILES, **{f"parts/big{n}.cc": f"char big{n}[2000000] = {{1}};\n" for n in range(4)}}
        chain = {**spec()["toolchain"], "ccache": ""}
        path = prepare(small / "w", files, toolchain=chain, disk=0, environment={"TMPDIR": "/var/tmp"})
        result = build(path, cache_in=tmp_path)
        assert (result["outcome"], result["step"]) == ("failed", "compile"), result
        found = diagnose([result["message"], *result["error"]["context"]])
        assert found is not None and found.id == "B20", result["error"]
        assert "make room and build again" in result["hint"]
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        again = build(path, cache_in=tmp_path)
        assert again["outcome"] == "built"
        assert again["objects"] < 8
        # While it unpacks.
        subprocess.run(["mount", "-o", f"remount,size={used(small) // 1024 + 64}k", str(small)], check=True)
        result = build(prepare(small / "w", {**files, "parts/more.h": "x" * 1_000_000}, disk=0), cache_in=tmp_path)
        assert result["message"].startswith("the disk is full: No space left on device"), result
    finally:
        subprocess.run(["umount", str(small)], check=True)


def used(mounted: Path) -> int:
    space = os.statvfs(mounted)
    return (space.f_blocks - space.f_bfree) * space.f_frsize
