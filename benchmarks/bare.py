"""A sweep's wall time over that of a bare TVM script that compiles and measures the same networks on the same board.

The sweep also checks every output against onnxruntime, takes the board's facts and conditions, and stores what it saw.
Usage, as root: python benchmarks/bare.py [--models mobilenet squeezenet_v1.1] [--repeat 3] [--output FILE]
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

from tvmops.connection import connect
from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.stack import ensure_environment, load_stack

PEER = Path(__file__).with_name("bare_peer.py")
LAB = "barebench"
STACK = "tvm_stack=relay-0.19"
MODELS = ("mobilenet", "resnet-18", "squeezenet_v1.1")


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command[:6])}: exit code {done.returncode}\n{done.stdout}\n{done.stderr[-3000:]}")
    return time.perf_counter() - started


def tvmops(*arguments: str, state: Path) -> float:
    """Wall seconds of a tvmops command."""
    return timed([sys.executable, "-m", "tvmops", *arguments], {"TVMOPS_STATE": str(state)})


def main() -> None:
    """Run both in turns, and print both and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tvmops-bench-"))
    python = str(ensure_environment(load_stack("relay-0.19")))
    lab = Lab(id=LAB)
    lab.up(["b1"])
    rounds = []
    try:
        tvmops("build", "-i", f"lab:{LAB}", "--host", "b1", "-e", STACK, "--no-ship", state=folder / "warm")
        tvmops("provision", "-i", f"lab:{LAB}", "--host", "b1", "-e", STACK, state=folder / "warm")
        host = load_inventory([lab.inventory_path]).hosts["b1"]
        target = host.vars["tvm_target"]
        text = (Path(__file__).parent.parent / "sweeps" / "rasp-imagenet.yml").read_text()
        (folder / "sweep.yml").write_text(text.replace("baseline: onnxruntime", "baseline: none"))
        sweep = ["sweep", str(folder / "sweep.yml"), "-i", f"lab:{LAB}", "-e", STACK]
        sweep += ["--workload", ",".join(options.models)]
        for number in range(options.repeat):
            connection = connect(host)
            with connection.forward(9090) as tunnel:
                settings = {"models": options.models, "port": tunnel.port, "target": target, "warmup": 3, "repeat": 20}
                settings["threads"] = target["num-cores"]
                bare = timed([python, str(PEER), json.dumps(settings)], {"TOPHUB_LOCATION": "NONE"})
            connection.close()
            swept = tvmops(*sweep, state=folder / f"round{number}")
            rounds.append({"bare": bare, "sweep": swept})
            print(f"round {number + 1}: bare {bare:.1f} s, sweep {swept:.1f} s, {swept / bare:.3f}", flush=True)
    finally:
        lab.down(purge=True)
    ratio = statistics.median(row["sweep"] / row["bare"] for row in rounds)
    medians = {key: statistics.median(row[key] for row in rounds) for key in ("bare", "sweep")}
    print(f"medians: bare {medians['bare']:.1f} s, sweep {medians['sweep']:.1f} s, ratio {ratio:.3f}")
    if options.output:
        options.output.write_text(json.dumps(rounds, indent=1) + "\n")


if __name__ == "__main__":
    main()
