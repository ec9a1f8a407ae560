"""A sweep's wall time over the time spent inside TVM itself, on lab boards.

Inside TVM: import, compile and export of each compile job; connect, upload, load, first run, warm-up and timing of each
measurement. All the rest (processes, ssh, facts, conditions, checks against the reference, the store) is overhead.
Usage, as root: python benchmarks/sweep.py [--boards 2] [--repeat 3] [--sweep sweeps/smoke.yml] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tvmops.lab import Lab
from tvmops.paths import find_project_file

INSIDE_TVM = {
    "compile": ("import", "compile", "export"),
    "measure": ("connect", "upload", "load", "first_run", "warmup", "measure"),
}


def tvmops(*arguments: str, state: Path) -> float:
    """Run a tvmops command; its wall time in seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["TVMOPS_STATE"] = str(state)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tvmops", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"tvmops {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


def seconds_inside_tvm(jobs: Path) -> float:
    """The sum of the phases inside TVM over all job directories."""
    total = 0.0
    for path in jobs.glob("*/result.json"):
        kind = json.loads((path.parent / "job.json").read_text())["kind"]
        phases = json.loads(path.read_text())["seconds"]
        total += sum(phases.get(phase, 0.0) for phase in INSIDE_TVM.get(kind, ()))
    return total


def without_baseline(sweep: str, folder: Path) -> Path:
    """A copy of the sweep file that measures TVM only."""
    text = find_project_file(sweep).read_text()
    path = folder / "sweep.yml"
    path.write_text(re.sub(r"^baseline:.*$", "baseline: none", text, flags=re.MULTILINE))
    return path


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--boards", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sweep", default="sweeps/smoke.yml")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tvmops-bench-"))
    sweep = without_baseline(options.sweep, folder)
    lab = Lab(id="swbench")
    lab.up(options.boards)
    rows = []
    try:
        tvmops("provision", "-i", "lab:swbench", "--host", "all", state=folder / "warm")
        for round_ in range(options.repeat):
            state = folder / f"round{round_}"
            wall = tvmops("sweep", str(sweep), "-i", "lab:swbench", state=state)
            inside = seconds_inside_tvm(state / "jobs")
            rows.append({"wall": wall, "inside_tvm": inside, "ratio": wall / inside})
            print(
                f"round {round_ + 1}: wall {wall:.1f} s, inside TVM {inside:.1f} s, ratio {wall / inside:.3f}",
                flush=True,
            )
        again = tvmops("sweep", str(sweep), "-i", "lab:swbench", state=folder / f"round{options.repeat - 1}")
    finally:
        lab.down(purge=True)
    medians = {key: statistics.median(row[key] for row in rows) for key in ("wall", "inside_tvm", "ratio")}
    print(f"\n{options.boards} boards, medians of {options.repeat}: wall {medians['wall']:.1f} s, ", end="")
    print(f"inside TVM {medians['inside_tvm']:.1f} s, ratio {medians['ratio']:.3f}; nothing left to do: {again:.2f} s")
    if options.output:
        options.output.write_text(json.dumps({"rounds": rows, "again": again}, indent=1) + "\n")


if __name__ == "__main__":
    main()
