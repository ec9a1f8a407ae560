"""How long a sweep of 200 jobs takes to find that nothing is to do, process start included.

The models are products of matrices and the host is this machine, so that the first run, which fills the store, is
short.
Usage: python benchmarks/resume.py [--workloads 100] [--repeat 5] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent / "tests" / "integration" / "sweep_driver.py"


def project(folder: Path, workloads: int) -> None:
    """A local host, and a sweep of a compile and a measure job per workload."""
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "tvmops_shares_cpu": True}
    host |= {"tvm_target": {"kind": "llvm", "num-cores": 1}}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    models = [{"name": f"model-{seed}", "source": {"kind": "generated", "seed": seed}} for seed in range(workloads)]
    sweep = {"name": "many", "stack": "fake-1", "baseline": "none", "workloads": models}
    sweep["measure"] = {"warmup": 0, "repeat": 1, "min_repeat_ms": 0}
    (folder / "many.yml").write_text(json.dumps(sweep))


def run(folder: Path) -> tuple[float, str]:
    """One run of the sweep: wall seconds and what it printed."""
    environment = {**os.environ, "TVMOPS_STATE": str(folder / "state"), "TVMOPS_CACHE": str(folder / "cache")}
    command = [sys.executable, str(PROGRAM), "sweep", "many.yml", "-i", "hosts.yml"]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"the sweep ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return seconds, done.stdout


def main() -> None:
    """Fill the store, then time runs that find everything in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workloads", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tvmops-bench-") as name:
        folder = Path(name)
        project(folder, options.workloads)
        first, _ = run(folder)
        times = []
        for _ in range(options.repeat):
            seconds, output = run(folder)
            if "nothing to do" not in output:
                raise SystemExit(f"something was run again:\n{output}")
            times.append(seconds)
    median = statistics.median(times)
    print(f"{2 * options.workloads} jobs: {first:.1f} s to run them; {median:.2f} s to find nothing to do")
    if options.output:
        options.output.write_text(json.dumps({"jobs": 2 * options.workloads, "seconds": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
