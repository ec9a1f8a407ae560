"""Running what was built for VTA: on the simulator in this process, or on an FPGA behind TVM's RPC server."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Dict

import numpy as np
import tvm
from tvm import autotvm, rpc

from ..backends.relay_board import GraphBoard
from ..backends.rpc_board import SESSION_SECONDS
from ..failures import JobError, failing_as, first_words
from ..job import file_sha256
from . import counters, simulator
from .address import Address, address_of
from .environment import configuration_json
from .hardware import SIMULATOR, configuration
from .settings import Settings, settings_of
from .tree import bitstream_of, identity, sources_of


def connect(rpc_settings: Dict[str, Any], target: Dict[str, Any]) -> GraphBoard:
    """The simulator for a target of model `sim`, else the board behind RPC. Raises JobError: BadInput, Rpc."""
    model = str(target.get("model", SIMULATOR))
    if model == SIMULATOR:
        return SimBoard()
    return FpgaBoard(model, rpc_settings)


class SimBoard(GraphBoard):
    """VTA's functional simulator in this process. Its times are this processor's and say nothing about an FPGA."""

    def __init__(self) -> None:
        self.session = rpc.LocalSession()
        self.device = self.session.ext_dev(0)
        self._settings = Settings(Path())
        self._details: Dict[str, Any] = {}

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """The simulator first: compiled code is linked against it."""
        self._settings = settings_of(options)
        sources = sources_of(self._settings)
        config = configuration(SIMULATOR, self._settings.config)
        simulator.load(sources, config, Path(tvm.__file__).parent, self._settings.cache_dir)
        self._details = {"vta": {"sources_sha256": identity(sources), "configuration": config}}
        super().load(artifact, inputs, threads, options)

    def details(self) -> Dict[str, Any]:
        """Counts one inference. Raises JobError (WrongOutput) when that is not what the workload expects."""
        tvm.get_global_func("vta.simulator.profiler_clear")()
        self.run()
        found = counters.read(tvm.get_global_func("vta.simulator.profiler_status")())
        table = counters.beside_expected(found, self._settings)
        counters.check(table, self._settings)
        return {**self._details, "counters": table}

    @contextlib.contextmanager
    def explained(self, doing: str) -> Any:
        """No RPC is in between: trying again would not help."""
        with failing_as("Internal", f"cannot {doing} VTA's simulator"):
            yield


class FpgaBoard(GraphBoard):
    """A PYNQ or Ultra96 whose RPC server is VTA's own (vta.exec.rpc_server)."""

    def __init__(self, model: str, rpc_settings: Dict[str, Any]) -> None:
        address = address_of(rpc_settings, model, os.environ)
        self._model = model
        self._where = f"{address.host}:{address.port}"
        self._session_timeout = int(rpc_settings.get("session_timeout", SESSION_SECONDS))
        self._details: Dict[str, Any] = {}
        with self.explained("connect to"):
            self.session = _session(address, self._session_timeout)
            self.device = self.session.ext_dev(0)

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """As VTA's own client does: the runtime first, then the FPGA, and both before anything is loaded."""
        settings = settings_of(options)
        config = configuration(self._model, settings.config)
        bitstream = bitstream_of(settings, config)
        begin = time.perf_counter()
        with self._accelerator("reconfigure VTA's runtime on"):
            self.session.get_function("tvm.contrib.vta.reconfig_runtime")(configuration_json(config))
        with self._accelerator(f"program {bitstream.name} into"):
            program = self.session.get_function("tvm.contrib.vta.init")
            self.session.upload(str(bitstream))
            program(bitstream.name)
        self._details = {
            "configuration": config,
            "bitstream": bitstream.name,
            "bitstream_sha256": file_sha256(bitstream),
            "reconfigure_seconds": time.perf_counter() - begin,
        }
        super().load(artifact, inputs, threads, options)

    def details(self) -> Dict[str, Any]:
        """What the FPGA was programmed with, and how long that took."""
        return {"vta": self._details}

    @contextlib.contextmanager
    def _accelerator(self, doing: str) -> Any:
        with self.explained(doing):
            try:
                yield
            except Exception as error:
                words = first_words(error)
                if "tvm.contrib.vta" in words:  # TVM's words: no such function
                    cure = "start 'python3 -m vta.exec.rpc_server' there as root, out of a TVM with VTA"
                    raise JobError("Rpc", f"the RPC server behind {self._where} is not VTA's; {cure}") from error
                if words.endswith("RPC call:"):  # what a board's Python raises does not travel
                    cure = "the reason is in the log of its RPC server"
                    raise JobError("Rpc", f"cannot {doing} the board behind {self._where}; {cure}") from error
                raise


def _session(address: Address, seconds: int) -> Any:
    if address.tracked:
        return autotvm.measure.request_remote(address.key, address.host, address.port, timeout=seconds)
    return rpc.connect(address.host, address.port, key=address.key, session_timeout=seconds)
