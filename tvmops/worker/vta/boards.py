"""Running what was built for VTA: on the simulator in this process, or on an FPGA behind TVM's RPC server."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import tvm
from tvm import autotvm, rpc
from tvm.contrib import graph_executor

from ..backends.base import Board
from ..failures import JobError, failing_as, first_words
from ..job import file_sha256
from . import counters, simulator
from .address import Address, address_of
from .environment import configuration_json
from .hardware import SIMULATOR, bitstream_name, configuration
from .settings import Settings, settings_of
from .tree import identity, sources_of

LIBRARY = "model.so"
FASTEST_CORES = 1  # mode of TVM's thread pool


def connect(rpc_settings: Dict[str, Any], target: Dict[str, Any]) -> "VtaBoard":
    """The simulator for a target of model `sim`, else the board behind RPC. Raises JobError: BadInput, Rpc."""
    model = str(target.get("model", SIMULATOR))
    if model == SIMULATOR:
        return SimBoard()
    return FpgaBoard(model, rpc_settings)


class VtaBoard(Board):
    """A graph executor on the device ext_dev of a session."""

    def __init__(self, session: Any, where: str) -> None:
        self._session = session
        self._where = where
        self._executor: Any = None
        self._device: Any = None
        self._details: Dict[str, Any] = {}

    def _prepare(self, options: Dict[str, Any]) -> None:
        """What must happen before a library is loaded: it links against the accelerator's runtime."""
        raise NotImplementedError

    def upload(self, artifact: Path) -> None:
        """Into the session's own folder."""
        with self._explained("upload the library to"):
            self._session.upload(str(artifact), LIBRARY)

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """Makes the accelerator ready first."""
        self._prepare(options)
        with self._explained("load the library on"):
            self._session.get_function("runtime.config_threadpool")(FASTEST_CORES, threads)
            self._device = self._session.ext_dev(0)
            library = self._session.load_module(LIBRARY)
            self._executor = graph_executor.GraphModule(library["default"](self._device))
            for name, array in inputs.items():
                self._executor.set_input(name, np.ascontiguousarray(array))

    def run(self) -> float:
        """One inference, waited for."""
        begin = time.perf_counter()
        with self._explained("run the model on"):
            self._executor.run()
            self._device.sync()
        return time.perf_counter() - begin

    def outputs(self) -> List[np.ndarray]:
        """Fetched from the session."""
        with self._explained("fetch the outputs from"):
            return [self._executor.get_output(i).numpy() for i in range(self._executor.get_num_outputs())]

    def warm_up(self, runs: int) -> float:
        """One sample."""
        return self.measure(1, runs)[0]

    def measure(self, repeat: int, number: int) -> List[float]:
        """TVM's own loop. On the simulator these are seconds of this processor and say nothing about an FPGA."""
        with self._explained("measure on"):
            timer = self._executor.module.time_evaluator("run", self._device, number=number, repeat=repeat)
            return list(timer().results)

    def details(self) -> Dict[str, Any]:
        """What was noted on the way."""
        return dict(self._details)

    def close(self) -> None:
        """The session ends when the last object that lives in it is gone."""
        self._executor = self._device = self._session = None
        gc.collect()

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Any:
        with failing_as("Rpc", f"cannot {doing} {self._where}"):
            yield


class SimBoard(VtaBoard):
    """VTA's functional simulator."""

    def __init__(self) -> None:
        super().__init__(rpc.LocalSession(), "VTA's simulator")
        self._settings = Settings(Path())

    def _prepare(self, options: Dict[str, Any]) -> None:
        self._settings = settings_of(options)
        sources = sources_of(self._settings)
        config = configuration(SIMULATOR, self._settings.config)
        simulator.load(sources, config, Path(tvm.__file__).parent, self._settings.cache_dir)
        self._details = {"simulator": {"sources_sha256": identity(sources), "configuration": config}}

    def details(self) -> Dict[str, Any]:
        """Counts one inference. Raises JobError (WrongOutput) when that is not what the workload expects."""
        tvm.get_global_func("vta.simulator.profiler_clear")()
        self.run()
        found = counters.read(tvm.get_global_func("vta.simulator.profiler_status")())
        table = counters.beside_expected(found, self._settings)
        counters.check(table, self._settings)
        return {**self._details, "counters": table}


class FpgaBoard(VtaBoard):
    """A PYNQ or Ultra96 whose RPC server is VTA's own (vta.exec.rpc_server)."""

    def __init__(self, model: str, rpc_settings: Dict[str, Any]) -> None:
        address = address_of(rpc_settings, model, os.environ)
        where = f"the {model} board behind {address.host}:{address.port}"
        self._model = model
        with failing_as("Rpc", f"cannot connect to {where}"):
            session = _session(address, int(rpc_settings.get("session_timeout", 300)))
        super().__init__(session, where)

    def _prepare(self, options: Dict[str, Any]) -> None:
        """As VTA's own client does: the runtime first, then the FPGA, and both before anything is loaded."""
        settings = settings_of(options)
        config = configuration(self._model, settings.config)
        bitstream = bitstream_of(settings, config)
        begin = time.perf_counter()
        with self._accelerator("reconfigure VTA's runtime"):
            self._session.get_function("tvm.contrib.vta.reconfig_runtime")(configuration_json(config))
        with self._accelerator(f"program the FPGA with {bitstream.name}"):
            program = self._session.get_function("tvm.contrib.vta.init")
            self._session.upload(str(bitstream))
            program(bitstream.name)
        self._details = {
            "fpga": {
                "configuration": config,
                "bitstream": bitstream.name,
                "bitstream_sha256": file_sha256(bitstream),
                "reconfigure_seconds": time.perf_counter() - begin,
            }
        }

    @contextlib.contextmanager
    def _accelerator(self, doing: str) -> Any:
        try:
            yield
        except Exception as error:
            words = first_words(error)
            if "annot find" in words and "vta" in words:
                words = "its RPC server is not VTA's; start 'python3 -m vta.exec.rpc_server' there, as root"
            raise JobError("Rpc", f"{self._where} did not {doing}: {words}") from error


def bitstream_of(settings: Settings, config: Dict[str, Any]) -> Path:
    """The bitstream's file. Raises JobError (BadInput)."""
    path = settings.bitstream
    if path is None:
        name = f"{bitstream_name(config)}.bit"
        raise JobError("BadInput", f"an FPGA is programmed with a file of yours: name {name} in tvm_vta_bitstream")
    if not path.is_file():
        raise JobError("BadInput", f"{path}: no such bitstream")
    return path


def _session(address: Address, seconds: int) -> Any:
    if address.tracked:
        return autotvm.measure.request_remote(
            address.key, address.host, address.port, timeout=seconds
        )
    return rpc.connect(address.host, address.port, key=address.key, session_timeout=seconds)
