"""What a fleet's rebuild costs: `tvmops build` for N lab boards of one ABI, beside one build and N builds on boards.

    python benchmarks/rebuild.py [--boards 8] [--repeat 1] [--native 1] [--output FILE]     as root; takes 6 builds

one       a cold build for one board: packed and stored, nothing sent
fleet     a cold build for N provisioned boards, shipped, switched to, every RPC server answering
native    the same build on a board itself, cold, `--native` boards one after the other; N of them are extrapolated
touched   a build after one source file was changed: in the same work folder, and in a new one with ccache
nothing   a build after nothing was changed: the key is in the store
Cold: no ccache, an empty work folder, an empty store. The sources lie on this machine, boards have their packages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tvmops.lab import Lab
from tvmops.stack import load_stack
from tvmops.stack.sources import fetch_source

STACK = "relay-0.19"
TOUCHED = "src/runtime/c_runtime_api.cc"
PACKAGES = "g++ cmake ninja-build"
COLD = {"CCACHE_DISABLE": "1"}


class Bench:
    """A lab, a tree of sources to be changed, and folders for one measurement after the other."""

    def __init__(self, boards: int, jobs: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tvmops-bench-"))
        self.lab = Lab(id="rbbench")
        self.boards = [board.name for board in self.lab.up(boards)]
        self.jobs = ["--jobs", str(jobs)] if jobs else []
        self.tree = self.folder / "tree"
        shutil.copytree(fetch_source(load_stack(STACK)).folder, self.tree)
        self.changes = 0

    def tvmops(self, *arguments: str, place: str, environment: dict[str, str] | None = None) -> tuple[float, str]:
        """Run a tvmops command with the caches of `place`; wall seconds and output."""
        values = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        values |= {"TVMOPS_STATE": str(self.folder / place / "state"), **(environment or {})}
        values |= {
            "TVMOPS_CACHE": str(self.folder / place / "cache"),
            "TVMOPS_STORE": str(self.folder / place / "store"),
        }
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tvmops", *arguments], env=values, capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - start
        if done.returncode != 0:
            raise SystemExit(f"tvmops {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return wall, done.stdout

    def build(self, hosts: str, *options: str, place: str, environment: dict[str, str] | None = None) -> float:
        """Wall seconds of `tvmops build` for these hosts."""
        arguments = ["build", "-i", "lab:rbbench", "--host", hosts, "--stack", STACK, "--source", str(self.tree)]
        return self.tvmops(*arguments, *self.jobs, *options, place=place, environment=environment)[0]

    def change(self) -> None:
        """Another content of one source file."""
        self.changes += 1
        with (self.tree / TOUCHED).open("a") as stream:
            stream.write(f"// change {self.changes}\nextern const int tvmops_change_{self.changes} = {self.changes};\n")

    def prepare_boards(self, place: str) -> None:
        """Provision all boards with what `place` has built."""
        self.tvmops("provision", "-i", "lab:rbbench", "--host", "all", "-e", f"tvm_stack={STACK}", place=place)

    def answering(self, place: str) -> None:
        """Every board serves the same, newest release; ends the benchmark when not."""
        text = self.tvmops("rpc.status", "--host", "all", "--inventory", "lab:rbbench", "--json", place=place)[1]
        if len(json.loads(text)) != len(self.boards):
            raise SystemExit(f"not all RPC servers answer: {text}")

    def install_compilers(self, board: str) -> None:
        """What a board needs to build by itself; not part of the time."""
        playbook = self.folder / "compilers.yml"
        tasks = f"- apt: {{name: [{', '.join(PACKAGES.split())}]}}"
        playbook.write_text(f"- hosts: all\n  become: true\n  tasks:\n    {tasks}\n")
        self.tvmops("playbook", str(playbook), "-i", "lab:rbbench", "--host", board, place="prepare")


def measure(bench: Bench, native: int) -> dict[str, float]:
    """Seconds of each kind, once."""
    found: dict[str, float] = {}
    place = f"round-{time.time_ns()}"
    first = bench.boards[0]
    bench.change()
    found["one"] = bench.build(first, "--no-ship", place=f"{place}-one", environment=COLD)
    bench.prepare_boards(f"{place}-one")
    bench.change()
    found["fleet"] = bench.build("all", place=f"{place}-fleet", environment=COLD)
    bench.answering(f"{place}-fleet")
    bench.change()
    found["touched"] = bench.build("all", "--no-ship", place=f"{place}-fleet", environment=COLD)
    found["nothing"] = bench.build("all", "--no-ship", place=f"{place}-fleet", environment=COLD)
    warm = {"CCACHE_DIR": str(bench.folder / "ccache")}
    bench.build(first, "--no-ship", place=f"{place}-fill", environment=warm)
    bench.change()
    found["touched, new folder, ccache"] = bench.build(first, "--no-ship", place=f"{place}-new", environment=warm)
    own = []
    for board in bench.boards[:native]:
        bench.install_compilers(board)
        bench.tvmops("playbook", str(_forget(bench.folder)), "-i", "lab:rbbench", "--host", board, place="prepare")
        own.append(bench.build(board, "--no-ship", "--builder", "native", place=f"{place}-{board}", environment=COLD))
    if own:
        found["native"] = statistics.mean(own)
    return found


def _forget(folder: Path) -> Path:
    playbook = folder / "forget.yml"
    playbook.write_text("- hosts: all\n  gather_facts: false\n  tasks:\n    - shell: rm -rf ~/.cache/tvmops/build\n")
    return playbook


def table(medians: dict[str, float], boards: int) -> str:
    """Markdown."""
    one = medians["one"]
    lines = ["| what | seconds | x one build |", "|---|---|---|"]
    rows = dict(medians)
    if "native" in rows:
        rows[f"{boards} builds on boards, one after the other"] = boards * rows.pop("native")
    names = {"one": "one build", "fleet": f"build and ship to {boards} boards, all RPC servers answering"}
    return "\n".join([*lines, *(f"| {names.get(n, n)} | {s:.1f} | {s / one:.2f} |" for n, s in rows.items())])


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--boards", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--native", type=int, default=1, help="builds on so many boards (0: none)")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the boards running")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    bench = Bench(options.boards, options.jobs)
    try:
        rounds = [measure(bench, options.native) for _ in range(options.repeat)]
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
        if not options.keep:
            bench.lab.down(purge=True)
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(table(medians, options.boards))
    if options.output:
        options.output.write_text(json.dumps({"boards": options.boards, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
