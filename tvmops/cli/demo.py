"""The command `demo`: from bare boards to a report, each step shown as the command a user would type."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tvmops.cli.common import command
from tvmops.errors import TvmopsError
from tvmops.paths import lab_dir, state_dir

SWEEP = "sweeps/smoke.yml"
LAB = "demo"  # a lab of its own: the demo's boards begin bare
# What the first number of the summary timed.
VIRTUAL = "bare Debian to a running TVM RPC server"
LOCAL = "nothing to a TVM runtime in a folder of yours"


@command(
    help={
        "boards": "how many amd64 boards",
        "arm": "one emulated arm64 board more",
        "keep": "leave the boards (without root: the RPC server) running at the end",
    }
)
def demo(ctx: Any, boards: int = 2, arm: bool = False, keep: bool = False) -> None:
    """Boards up, provisioned, measured, reported: the whole workflow on this machine."""
    virtual = os.geteuid() == 0
    start = time.monotonic()
    if virtual:
        inventory = _raise_boards(boards, arm)
    else:
        print("Not root: no virtual boards. This machine itself is the board, as a local host, unprivileged.\n")
        inventory = str(_local_inventory())
    try:
        seconds = [_timed(["provision", "-i", inventory, "--host", "all"]) for _ in range(2)]
        _timed(["sweep", SWEEP, "-i", inventory])
        _timed(["report"])
    finally:
        if not keep:
            _run(_down() if virtual else ["rpc.stop", "-i", inventory, "--host", "all"], check=False)
    brought = VIRTUAL if virtual else LOCAL
    _summary(brought, seconds, time.monotonic() - start)


def _raise_boards(boards: int, arm: bool) -> str:
    if (lab_dir() / LAB).exists():
        _run(_down())  # boards of an earlier demo are no longer bare
    _timed(["lab.up", "--id", LAB, "--boards", str(boards)])
    if arm:
        _timed(["lab.up", "--id", LAB, "--boards", "1", "--arch", "arm64"])
    return f"lab:{LAB}"


def _down() -> list[str]:
    return ["lab.down", "--id", LAB, "--purge"]


def _local_inventory() -> Path:
    """An inventory whose one host is this machine, installed into a folder of the user."""
    folder = state_dir() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    machine = platform.machine()
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tvmops_unprivileged": True,
        "tvmops_prefix": str(folder / "prefix"),
        "tvmops_shares_cpu": True,
        "tvm_stack": "relax-0.27",
        "tvm_target": {"kind": "llvm", "mtriple": f"{machine}-linux-gnu", "num-cores": cores},
    }
    path = folder / "local.yml"
    # JSON is YAML, and needs no quoting rules.
    path.write_text(json.dumps({"all": {"hosts": {"this-machine": host}}}, indent=1), encoding="utf-8")
    return path


def _run(arguments: Sequence[str], check: bool = True) -> None:
    print(f"$ tvmops {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "tvmops", *arguments], check=False)
    if check and done.returncode != 0:
        error = TvmopsError(f"the demo stopped: 'tvmops {' '.join(arguments)}' ended with exit code {done.returncode}")
        error.exit_code = done.returncode
        raise error


def _timed(arguments: Sequence[str]) -> float:
    start = time.monotonic()
    _run(arguments)
    seconds = time.monotonic() - start
    print(f"  ({seconds:.1f} s)\n", flush=True)
    return seconds


def _summary(brought: str, provision_seconds: Sequence[float], total: float) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "tvmops", "results", "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    print("\n".join(summary_lines(json.loads(listed.stdout), brought, provision_seconds, total)))


def summary_lines(results: Any, brought: str, provision_seconds: Sequence[float], total: float) -> list[str]:
    """The three numbers that matter, and where the report is."""
    measured = [row for row in results["measurements"] if row["ok"]]
    right = [row for row in measured if row["answer_ok"]]
    ratios = [row["ratio_to_baseline"] for row in measured if row.get("ratio_to_baseline")]
    ratio = f"{statistics.median(ratios):.1f}x" if ratios else "not measured"
    first, second = provision_seconds
    return [
        f"Done in {total:.0f} s.",
        f"  {brought:<45}  {first:.1f} s (second run, nothing to do: {second:.1f} s)",
        f"  models that gave the right answer              {len(right)} of {len(results['measurements'])}",
        f"  TVM (untuned) over onnxruntime, same host      {ratio} the time, median",
        f"Report: {results['report']}",
    ]


COMMANDS = [demo]
