"""Real jobs on the real stack: its environment, a worker in it, an RPC server on loopback, shipped workloads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker_process import WORKER, WorkerProcess, make_job

from tvmops.bench.baseline import RUNTIMES
from tvmops.bench.sweep_file import load_sweep
from tvmops.paths import cache_dir
from tvmops.stack.environment import ensure_environment
from tvmops.stack.spec import load_stack

TARGET = {"kind": "llvm", "num-cores": 2}
MEASURE = {"warmup": 1, "repeat": 3, "number": 1, "min_repeat_ms": 10, "threads": 2}


def stack_python(*extras: str) -> str:
    """The interpreter of the stack's environment, made if need be."""
    return str(ensure_environment(load_stack("relax-0.27"), extras))


def workload(name: str, sweep: str = "smoke") -> dict[str, Any]:
    """A workload as a shipped sweep has it."""
    (found,) = [dict(item.document) for item in load_sweep(sweep).workloads if item.name == name]
    return found


@contextmanager
def rpc_server(python: str) -> Iterator[int]:
    """TVM's own server; its port. Its children outlive it unless the whole group is ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [python, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_listening(process, port)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    """By the kernel's table: a connection without a handshake would block the server."""
    deadline = time.monotonic() + 60
    wanted = f"0100007F:{port:04X}"
    while time.monotonic() < deadline:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        if any(row[1] == wanted and row[3] == "0A" for row in rows):
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    raise AssertionError("the RPC server did not come up")


class Jobs:
    """Compile, measure and baseline jobs in one folder."""

    def __init__(self, folder: Path, python: str, port: int, backend: str = "relax") -> None:
        self.folder = folder
        self.python = python
        self.port = port
        self.worker = WorkerProcess(backend, python)

    def compile(self, name: str, document: dict[str, Any], **settings: Any) -> dict[str, Any]:
        """Compile for this machine."""
        settings = {"target": TARGET, "cross_compiler": None, **settings}
        directory = make_job(self.folder / f"{name}-compile", cache_dir(), "compile", document, **settings)
        return self.worker.run(directory, 240)

    def measure(self, name: str, document: dict[str, Any], **settings: Any) -> dict[str, Any]:
        """Measure what `compile` left under the same name."""
        compiled = self.folder / f"{settings.pop('compiled', name)}-compile"
        rpc = {"host": "127.0.0.1", "port": self.port, "session_timeout": 120}
        everything = {
            "artifact": str(compiled / "model.so"),
            "reference": str(compiled / "reference.npz"),
            "rpc": rpc,
            "measure": MEASURE,
            **settings,
        }
        return self.worker.run(
            make_job(self.folder / f"{name}-measure", cache_dir(), "measure", document, **everything)
        )

    def baseline(self, name: str, runtime: str = "onnxruntime") -> dict[str, Any]:
        """Another runtime on the same model and inputs, as a board runs it."""
        compiled = self.folder / f"{name}-compile"
        job = self.folder / f"{name}-measure" / f"{runtime}.json"
        given = json.loads((self.folder / f"{name}-measure" / "job.json").read_text())
        job.write_text(json.dumps({**given, "runtime": runtime}))
        files = [str(compiled / file) for file in (*RUNTIMES[runtime].files, "reference.npz")]
        argv = [self.python, str(WORKER / "baseline.py"), str(job), *files]
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
        result = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(result, dict)
        return result
