"""Trials per second of a tune job over AutoTVM's own loop: same network, tasks, trials, tuner and RPC servers.

The servers are TVM's own, on this machine. AutoTVM reaches them through its tracker, tvmops by their ports.
Usage: python benchmarks/tuning.py [--boards 1 2] [--tasks 3] [--trials 16] [--repeat 3] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tvmops.lab.inventory import tvm_target
from tvmops.paths import cache_dir
from tvmops.stack import ensure_environment, load_stack

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
from worker_process import WorkerProcess, make_job  # noqa: E402

ENVIRONMENT = {**os.environ, "TOPHUB_LOCATION": "NONE", "TVM_NUM_THREADS": "1"}


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def servers(python: str, count: int) -> Iterator[tuple[int, list[int]]]:
    """A tracker and `count` servers behind it, and `count` servers without one: (tracker's port, their ports)."""
    tracker, ports = free_port(), [free_port() for _ in range(2 * count)]
    commands = [["tvm.exec.rpc_tracker", "--host", "127.0.0.1", "--port", str(tracker), "--port-end", str(tracker + 1)]]
    for index, port in enumerate(ports):
        end = ["--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1)]
        behind = ["--tracker", f"127.0.0.1:{tracker}", "--key", "board"] if index < count else []
        commands.append(["tvm.exec.rpc_server", *end, *behind])
    started = []
    try:
        for command in commands:
            started.append(
                subprocess.Popen(
                    [python, "-m", *command],
                    env=ENVIRONMENT,
                    start_new_session=True,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(3.0 if command[0].endswith("tracker") else 0.0)
        time.sleep(8.0)  # TVM's import, and the registration at the tracker
        yield tracker, ports[count:]
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def peer(python: str, folder: Path, settings: dict[str, Any]) -> float:
    """AutoTVM's trials per second."""
    command = [python, str(HERE / "tuning_peer.py"), json.dumps({**settings, "log": str(folder / "peer.log")})]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"AutoTVM's own loop failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["trials"] / found["seconds"])


def ours(worker: WorkerProcess, folder: Path, ports: list[int], settings: dict[str, Any]) -> float:
    """The tune job's trials per second: from the imported model on, its processes' start and canaries included."""
    boards = [{"name": f"board-{i}", "host": "127.0.0.1", "port": port, "key": ""} for i, port in enumerate(ports)]
    tune = {"method": "autotvm", "tuner": "random", "transfer": False, "number": 1, "repeat": 1, "min_repeat_ms": 0}
    tune |= {name: settings[name] for name in ("trials", "tasks", "builders")}
    job = make_job(
        folder / "job",
        cache_dir(),
        "tune",
        {"name": "squeezenet", "source": {"kind": "testing", "model": "squeezenet_v1.1"}},
        stack="relay-0.19",
        target=settings["target"],
        cross_compiler=None,
        boards=boards,
        log_folder=str(folder / "logs"),
        log_stem="squeezenet",
        tune={**tune, "threads": 1},
    )
    result = worker.run(job, 3600)
    if not result["ok"]:
        raise SystemExit(f"the tune job failed: {result['error']}\n{(job / 'log.txt').read_text()[-3000:]}")
    return float(result["measured"] / result["seconds"]["tune"])


def main() -> None:
    """Measure both in turns, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--boards", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--builders", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    python = str(ensure_environment(load_stack("relay-0.19"), ["tuning"]))
    rows = []
    print("| boards | AutoTVM, trials/s | tvmops, trials/s | ratio |\n| ---: | ---: | ---: | ---: |")
    for count in options.boards:
        settings = {"tasks": options.tasks, "trials": options.trials, "builders": options.builders, "boards": count}
        settings["target"] = tvm_target("amd64")
        rounds = []
        with servers(python, count) as (tracker, ports):
            worker = WorkerProcess("relay", python)
            for _ in range(options.repeat):
                with tempfile.TemporaryDirectory(prefix="tvmops-bench-") as name:
                    theirs = peer(python, Path(name), {**settings, "tracker": tracker})
                    rounds.append((theirs, ours(worker, Path(name), ports, settings)))
            worker.close()
        theirs, own = (statistics.median(values) for values in zip(*rounds, strict=True))
        ratio = statistics.median(one / other for other, one in rounds)
        rows.append({"boards": count, "autotvm": theirs, "tvmops": own, "ratio": ratio, "rounds": rounds})
        print(f"| {count} | {theirs:.2f} | {own:.2f} | {ratio:.2f} |", flush=True)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
