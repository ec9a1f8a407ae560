"""A board behind TVM's RPC server, whatever executor runs the model there."""

from __future__ import annotations

import abc
import contextlib
import gc
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
from tvm import rpc

from ..failures import JobError, first_words
from .base import Board
from .devices import device_of

LIBRARY = "model.so"
# Mode 1 of TVM's thread pool: the fastest cores first, one thread each.
FASTEST_CORES = 1
SESSION_SECONDS = 300


class RpcBoard(Board):
    """A session that the server ends by itself after `session_timeout` seconds."""

    def __init__(self, settings: Dict[str, Any], target: Dict[str, Any]) -> None:
        if not settings.get("host") or not settings.get("port"):
            raise JobError("BadInput", "job.json of a measure job needs 'rpc' with host and port")
        host, port = settings["host"], int(settings["port"])
        self._where = f"{host}:{port}"
        self._session_timeout = int(settings.get("session_timeout", SESSION_SECONDS))
        with self.explained("connect to"):
            key = str(settings.get("key", ""))
            self.session: Any = rpc.connect(host, port, key=key, session_timeout=self._session_timeout)
        with self.explained(f"find a device for the target {target} on"):
            self.device: Any = self.session.device(device_of(target), 0)

    @abc.abstractmethod
    def start(self, library: Any, inputs: Dict[str, np.ndarray]) -> None:
        """Makes an executor of the loaded library and sets its inputs."""

    @abc.abstractmethod
    def infer(self) -> None:
        """One inference, to its end."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Drops everything that lives on the board."""

    @abc.abstractmethod
    def samples(self, repeat: int, number: int) -> List[float]:
        """Seconds per run of `repeat` samples, by TVM's own loop on the board."""

    @abc.abstractmethod
    def fetch(self) -> List[np.ndarray]:
        """The outputs of the last run."""

    def upload(self, artifact: Path) -> None:
        """Into the session's own folder on the board, which the server removes afterwards."""
        with self.explained("upload the library to"):
            self.session.upload(str(artifact), LIBRARY)

    def load(self, artifact: Path, inputs: Dict[str, np.ndarray], threads: int, options: Dict[str, Any]) -> None:
        """The thread pool must be set before the first run starts it."""
        with self.explained("load the library on"):
            self.session.get_function("runtime.config_threadpool")(FASTEST_CORES, threads)
            self.start(self.session.load_module(LIBRARY), inputs)

    def run(self) -> float:
        """One inference, with the round trip."""
        begin = time.perf_counter()
        with self.explained("run the model on"):
            self.infer()
        return time.perf_counter() - begin

    def outputs(self) -> List[np.ndarray]:
        """Fetched from the board."""
        with self.explained("fetch the outputs from"):
            return self.fetch()

    def warm_up(self, runs: int) -> float:
        """One sample of `runs` runs."""
        return self.measure(1, runs)[0]

    def measure(self, repeat: int, number: int) -> List[float]:
        """TVM's own loop, on the board: the network is not in the numbers."""
        with self.explained("measure on"):
            return self.samples(repeat, number)

    def close(self) -> None:
        """The session ends when the last object that lives on the board is gone."""
        self.forget()
        self.device = self.session = None
        gc.collect()

    @contextlib.contextmanager
    def explained(self, doing: str) -> Any:
        """A failure inside is the board's: JobError (Rpc) with what was being done and where."""
        try:
            yield
        except JobError:
            raise
        except Exception as error:
            raise JobError("Rpc", self._reason(doing, error)) from error

    def _reason(self, doing: str, error: Exception) -> str:
        words = first_words(error, 300)
        if "RPCSessionTimeoutError" in type(error).__name__ + words:
            told = f"the board behind {self._where} needed more than the session's {self._session_timeout} s"
            return f"{told}; raise rpc.session_timeout or measure less"
        return f"cannot {doing} the board behind {self._where}: {_explanation(words) or words}"


def _explanation(words: str) -> Optional[str]:
    if "kShutdown" in words:
        return "the server ended the session (it crashed, or its listener is dead); restart the RPC server on the board"
    if "Connect to" in words:
        return "nothing listens there; is the RPC server up and the tunnel open?"
    return None
