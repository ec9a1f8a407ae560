"""The way to an FPGA board, against a server that registers what VTA's own does: no FPGA and none of VTA is here."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from relax_jobs import MEASURE, wait_until_listening
from relay_jobs import relay_python
from ssh_servers import free_port
from worker_process import WorkerProcess, make_job

from tvmops.worker import reference
from tvmops.worker.vta.hardware import complete, configuration

HERE = Path(__file__).parent
TARGET = {"kind": "ext_dev", "device": "vta", "model": "pynq"}


@pytest.fixture(scope="module")
def python() -> str:
    return relay_python()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    subprocess.run([python, str(HERE / "vta_small_model.py"), str(folder)], check=True, timeout=240)
    data = np.linspace(-1, 1, 8, dtype="float32").reshape(1, 8)
    answer = np.maximum(data @ np.load(folder / "weights.npy").T, 0)
    reference.save(folder / "reference.npz", reference.Reference({"data": data}, {"out": answer}, {}))
    return folder


@pytest.fixture(scope="module")
def worker(python: str) -> Iterator[WorkerProcess]:
    process = WorkerProcess("relay", python)
    yield process
    process.close()


@contextmanager
def server(python: str, *arguments: str) -> Iterator[int]:
    """A program that listens on the port it is given last but first of its own arguments; the port."""
    port = free_port()
    words = [word.replace("PORT", str(port)) for word in arguments]
    process = subprocess.Popen(
        [python, *words], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until_listening(process, port)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def bitstream(tmp_path: Path) -> Path:
    path = tmp_path / "1x16_i8w8a32_15_15_18_17.bit"
    path.write_bytes(b"BIT" + bytes(range(256)) * 20)
    return path


class Measure:
    """Measure jobs on a board with VTA."""

    def __init__(self, worker: WorkerProcess, compiled: Path, folder: Path) -> None:
        self._worker, self._compiled, self._folder = worker, compiled, folder

    def __call__(self, rpc: dict[str, Any], **vta: Any) -> dict[str, Any]:
        workload = {"name": "small", "source": {"kind": "file"}, "task": {"kind": "raw"}, "options": {"vta": vta}}
        settings = {
            "artifact": str(self._compiled / "model.so"),
            "reference": str(self._compiled / "reference.npz"),
            "target": TARGET,
            "measure": {**MEASURE, "min_repeat_ms": 1},
            "rpc": {"session_timeout": 60, **rpc},
        }
        name = f"measure-{len(list(self._folder.glob('measure-*')))}"
        job = make_job(self._folder / name, self._folder / "cache", "measure", workload, **settings)
        return self._worker.run(job)


@pytest.fixture
def measure(worker: WorkerProcess, compiled: Path, tmp_path: Path) -> Measure:
    return Measure(worker, compiled, tmp_path)


def calls(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_an_fpga_is_reconfigured_and_programmed_before_it_runs(
    python: str, measure: Measure, bitstream: Path, tmp_path: Path
) -> None:
    log, digest = tmp_path / "calls", hashlib.sha256(bitstream.read_bytes()).hexdigest()
    with server(python, str(HERE / "vta_server.py"), "PORT", str(log)) as port:
        direct = {"host": "127.0.0.1", "port": port}
        result = measure(direct, bitstream=str(bitstream))
        assert result["ok"], result
        configured, programmed, loaded = calls(log)
        assert configured == {"call": "reconfig_runtime", "config": complete(configuration("pynq"))}
        assert programmed == {"call": "init", "file": bitstream.name, "sha256": digest}
        assert loaded == {"call": "load_module"}
        assert result["vta"]["bitstream_sha256"] == digest
        assert result["vta"]["reconfigure_seconds"] > 0
        assert len(result["samples"]) == MEASURE["repeat"]
        assert max(found["max_abs"] for found in result["differences"].values()) < 1e-5

        bitstream.write_bytes(b"<html>404 Not Found</html>")
        refused = measure(direct, bitstream=str(bitstream))["error"]
        assert refused["kind"] == "Rpc"
        assert refused["message"] == (
            f"cannot program {bitstream.name} into the board behind 127.0.0.1:{port}; "
            "the reason is in the log of its RPC server"
        )

        unnamed = measure(direct)["error"]
        assert (unnamed["kind"], "1x16_i8w8a32_15_15_18_17.bit" in unnamed["message"]) == ("BadInput", True)
        assert "tvm_vta_bitstream" in unnamed["message"]


def test_through_a_tracker(python: str, measure: Measure, bitstream: Path, tmp_path: Path) -> None:
    tracker = ("-m", "tvm.exec.rpc_tracker", "--host", "127.0.0.1", "--port", "PORT", "--port-end", "65535")
    with server(python, *tracker) as port:
        log = tmp_path / "calls"
        with server(python, str(HERE / "vta_server.py"), "PORT", str(log), str(port)):
            result = measure({"tracker": {"host": "127.0.0.1", "port": port}}, bitstream=str(bitstream))
    assert result["ok"], result
    assert [one["call"] for one in calls(log)] == ["reconfig_runtime", "init", "load_module"]


def test_a_server_that_is_not_vtas(python: str, measure: Measure, bitstream: Path) -> None:
    plain = ("-m", "tvm.exec.rpc_server", "--host", "127.0.0.1", "--port", "PORT", "--port-end", "65535")
    with server(python, *plain) as port:
        error = measure({"host": "127.0.0.1", "port": port}, bitstream=str(bitstream))["error"]
    assert error["kind"] == "Rpc"
    assert (
        f"the RPC server behind 127.0.0.1:{port} is not VTA's; start 'python3 -m vta.exec.rpc_server'"
        in error["message"]
    )
