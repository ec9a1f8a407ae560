"""Bytes and seconds to bring a board a new release of which 5 % of the files changed: tvmops, rsync, and the whole.

    python benchmarks/ship.py [--repeat 5] [--rate 100mbit] [--share 0.05] [--library] [--output FILE]    (as root)

All of it goes over the same ssh to the same virtual board. Bytes are those on the board's cable, both ways. The time of
tvmops is that of its first play: connect, send, unpack, take over the other files, check every SHA-256, compile what is
new to byte code, and try the runtime. rsync copies the old release on the board by links (cp -al) and brings that copy
up to date with -a, with -az, and with -a --whole-file; nothing is checked or tried after it. --library changes a
library of 1.9 MB, too: 1 % of its bytes, scattered, which is what rsync's own differences are for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tvmops.lab import Lab

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from variants import stored, touched, variant

from tvmops.stack import Artifact
from tvmops.stack.artifact import read_archive
from tvmops.stack.shipping import find_artifact

BOARD = "s1"
LIBRARY = "tvm_ffi/lib/libtvm_ffi_testing.so"  # 1.9 MB that the server does not load
PLACED = "The runtime loads and computes"  # the last task of the play that brings a release


class Bench:
    """A provisioned board, and ways to bring it a new release."""

    def __init__(self, rate: str, share: float, library: bool) -> None:
        self.lab = Lab("pship")
        self.folder = Path(tempfile.mkdtemp(prefix="tvmops-ship-"))
        self.share, self.library = share, library
        self.random = random.Random(7)
        self.lab.up([BOARD], disk="3G")
        self.tvmops("provision", "--host", BOARD, "-q")
        self.board("apt-get -qq install -y --no-install-recommends rsync >/dev/null 2>&1")
        self.base = find_artifact(self.board("basename $(readlink /opt/tvmops/current)"))
        if rate:
            self.lab.fault(BOARD, "rate", rate)

    def close(self) -> None:
        self.lab.down(purge=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def board(self, script: str) -> str:
        done = self.lab.exec(BOARD, ["sh", "-ec", script], timeout=300)
        if done.rc != 0:
            raise SystemExit(f"{script}: {done.stdout}{done.stderr}")
        return str(done.stdout).strip()

    def tvmops(self, *arguments: str) -> None:
        argv = [sys.executable, "-m", "tvmops", *arguments, "-i", f"lab:{self.lab.id}"]
        environment = {**os.environ, "TVMOPS_STATE": str(self.folder / "state")}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)

    def next(self) -> Artifact:
        """A new version."""
        changes = touched(self.base, self.share, self.random.randbytes(8).hex())
        if self.library:
            data = bytearray(next(data for name, _, data in read_archive(self.base.path) if name == LIBRARY))
            for _ in range(len(data) // 6400):
                place = self.random.randrange(len(data) - 64)
                data[place : place + 64] = self.random.randbytes(64)
            changes[LIBRARY] = bytes(data)
        return variant(self.base, self.folder, changes)

    def wire(self) -> int:
        """Bytes that have passed the board's cable, both ways."""
        link = self.lab.network.board_link(self.lab.machine(BOARD).board.number)
        counters = Path("/sys/class/net") / link / "statistics"
        return sum(int((counters / name).read_text()) for name in ("rx_bytes", "tx_bytes"))

    def by_tvmops(self, made: Artifact, whole: bool = False) -> float:
        """Seconds of the play that brings the release; the base goes out of sight for the whole."""
        hidden = f"/opt/tvmops/releases/{self.base.key}/.complete"
        if whole:
            self.board(f"mv {hidden} {hidden}.hidden")
        try:
            key = stored(made, self.folder / "store")
            self.tvmops("release.ship", "--host", BOARD, "--key", key, "--store", str(self.folder / "store"), "-q")
        finally:
            if whole:
                self.board(f"mv {hidden}.hidden {hidden}")
        (events,) = sorted((self.folder / "state" / "runs").glob(f"*/{BOARD}/events.jsonl"))[-1:]
        rows = [json.loads(line) for line in events.read_text().splitlines()]
        return float(next(row["seconds"] for row in rows if row.get("task") == PLACED and row["event"] == "task"))

    def by_rsync(self, made: Artifact, *options: str) -> float:
        """Seconds of rsync, from a copy by links of the old release."""
        source = self.folder / "unpacked" / made.key
        source.mkdir(parents=True)
        subprocess.run(["tar", "-xf", made.path, "-C", source], check=True)
        # Artifacts are dated 1970; a build gives what it makes the time of day, by which rsync knows it.
        for name, entry in made.manifest["files"].items():
            if entry != self.base.manifest["files"].get(name):
                os.utime(source / name)
        self.board(f"mkdir -p /opt/rsync; cp -al /opt/tvmops/releases/{self.base.key} /opt/rsync/{made.key}; sync")
        ssh = f"ssh -F {self.lab.ssh_config}"
        argv = ["rsync", *options, "-e", ssh, f"{source}/", f"root@{BOARD}:/opt/rsync/{made.key}/"]
        began = time.monotonic()
        subprocess.run(argv, check=True)
        seconds = time.monotonic() - began
        self.board("rm -rf /opt/rsync")
        shutil.rmtree(source)
        return seconds

    def measured(self, way: Callable[[Artifact], float]) -> tuple[int, float]:
        """(bytes, seconds) of one new release, after which the board is as before."""
        made = self.next()
        before = self.wire()
        seconds = way(made)
        passed = self.wire() - before
        self.tvmops("release.switch", "--host", BOARD, "--key", self.base.key, "-q")
        self.board(f"rm -rf /opt/tvmops/releases/{made.key}")
        return passed, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rate", default="", help="of the board's cable, for example 10mbit")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--library", action="store_true")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    bench = Bench(given.rate, given.share, given.library)
    ways: dict[str, Callable[[Artifact], float]] = {
        "tvmops": bench.by_tvmops,
        "rsync -a": lambda made: bench.by_rsync(made, "-a"),
        "rsync -az": lambda made: bench.by_rsync(made, "-az"),
        "rsync -aW": lambda made: bench.by_rsync(made, "-aW"),
        "tvmops, whole": lambda made: bench.by_tvmops(made, whole=True),
    }
    results: dict[str, Any] = {name: {"bytes": [], "seconds": []} for name in ways}
    try:
        for _ in range(given.repeat):
            for name, way in ways.items():
                passed, seconds = bench.measured(way)
                results[name]["bytes"].append(passed)
                results[name]["seconds"].append(round(seconds, 3))
    finally:
        bench.close()
    print(f"{'':<16}{'MB on the cable':>18}{'seconds':>12}")
    for name, found in results.items():
        print(f"{name:<16}{statistics.median(found['bytes']) / 1e6:>18.3f}{statistics.median(found['seconds']):>12.2f}")
    if given.output:
        about = {"share": given.share, "library": given.library, "rate": given.rate, "results": results}
        given.output.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
