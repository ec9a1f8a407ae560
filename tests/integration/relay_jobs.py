"""Real jobs on TVM 0.19: its environment, a worker in it, and the lean RPC server that boards run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relax_jobs import Jobs
from ssh_servers import free_port

from tvmops.paths import project_root
from tvmops.stack import ensure_environment, load_stack

SERVER = project_root() / "playbooks" / "files" / "lean" / "rpc_server.py"
EXTRAS = ("mxnet", "torch")


def relay_python(*extras: str) -> str:
    """The interpreter that has TVM 0.19, made if need be."""
    return str(ensure_environment(load_stack("relay-0.19"), extras))


@contextmanager
def lean_server(python: str, folder: Path) -> Iterator[int]:
    """The lean server on the runtime of that environment's TVM; its port."""
    (library,) = Path(python).parents[1].glob("lib/python3*/site-packages/tvm/libtvm_runtime.so")
    folder.mkdir(parents=True)
    port, log = free_port(), folder / "server.log"
    argv = [sys.executable, "-I", str(SERVER), "--port", str(port), "--lib", str(library)]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while "waits on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def relay_jobs(folder: Path, python: str) -> Iterator[Jobs]:
    """Compile and measure jobs of the Relay backend."""
    with lean_server(python, folder / "server") as port:
        jobs = Jobs(folder, python, port, "relay")
        try:
            yield jobs
        finally:
            jobs.worker.close()
