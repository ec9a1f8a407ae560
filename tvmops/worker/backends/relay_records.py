"""Tuning records while Relay compiles: which are applied, and for how many operators there was none.

TVM itself would fetch tophub's files while it compiles. Nothing is fetched here: TOPHUB_LOCATION is NONE, and tophub's
records come from the folder that the job names.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set

from ..failures import JobError, failing_as
from .relay_names import api

USE_ANSOR = {"relay.backend.use_auto_scheduler": True}
MISSING = "Cannot find tuning records for"


class Records:
    """What `applied` gives: PassContext settings to compile with, and the coverage once it is over."""

    def __init__(self, config: Dict[str, Any]) -> None:
        self.config = config
        self.coverage: Dict[str, Optional[int]] = {"tasks": None, "untuned": None}


@contextlib.contextmanager
def applied(tuning: Dict[str, Any], target: Any) -> Iterator[Records]:
    """Compile inside. Raises JobError (BadInput) for a tuning that this stack does not know or a log it cannot read."""
    kind, method = tuning.get("kind"), tuning.get("method", "autotvm")
    if kind == "log" and method == "ansor":
        with _ansor(tuning["path"]) as records:
            yield records
        return
    if kind == "none":
        files: List[Path] = []
    elif kind == "tophub":
        files = tophub_files(Path(tuning["folder"]), target)
    elif kind == "log" and method == "autotvm":
        files = [Path(tuning["path"])]
    else:
        raise JobError("BadInput", f"this stack does not apply tuning '{kind}' of method '{method}'")
    with _autotvm(files, Path(tuning["folder"]) if kind == "tophub" else Path("/nonexistent")) as records:
        yield records


def tophub_files(folder: Path, target: Any) -> List[Path]:
    """The files of `folder` that TVM would load for `target`: <name>_v<version>.log, the first name that has one."""
    if not folder.is_dir():
        raise JobError("BadInput", f"{folder}: no such folder of tophub's files; playbooks/tophub.yml makes one")
    device = str(target.attrs.get("device", "")) if hasattr(target.attrs, "get") else ""
    aliases = {"webgpu": "opencl", "vulkan": "opencl", "nvptx": "cuda", "vtacpu": "vta"}
    names = [device, *(str(key) for key in target.keys), str(target.kind.name)]
    for name in names:
        found = sorted(folder.glob(f"{aliases.get(name, name)}_v*.log")) if name else []
        if found:
            return found
    return []


@contextlib.contextmanager
def _autotvm(files: List[Path], tophub_root: Path) -> Iterator[Records]:
    tophub = api("tophub")
    warnings = api("autotvm_context").warning_messages
    tophub.REFERENCE_LOG_CACHE.clear()
    root, tophub.AUTOTVM_TOPHUB_ROOT_PATH = tophub.AUTOTVM_TOPHUB_ROOT_PATH, tophub_root
    warnings.clear()
    records = Records({})
    try:
        # Any context but TVM's own outermost one keeps relay.build from looking for tophub by itself.
        history = api("autotvm_history")([])
        for file in files:
            with failing_as("BadInput", f"{file} is no log of AutoTVM that this TVM can read"):
                history.load(str(file))
        with history, _autotvm_counter() as counter:
            yield records
        records.coverage = counter.coverage(warnings)
    finally:
        tophub.AUTOTVM_TOPHUB_ROOT_PATH = root
        tophub.REFERENCE_LOG_CACHE.clear()


def _autotvm_counter() -> Any:
    base = api("autotvm_context")

    class Counter(base):  # type: ignore[misc,valid-type]
        """Sees every question for a record on its way to the contexts outside it."""

        def __init__(self) -> None:
            super().__init__()
            self.tuned: Set[Any] = set()
            self.replaced: Set[Any] = set()
            self._last: Any = None

        def query(self, target: Any, workload: Any) -> Any:
            config = self._old_ctx.query(target, workload)
            if not config.is_fallback:
                self.tuned.add(workload)
            self._last = workload
            return config

        def update(self, target: Any, workload: Any, config: Any) -> None:
            """An operator is laid out anew: what was asked last is compiled under this workload instead."""
            if self._last is not None and self._last != workload:
                self.replaced.add(self._last)
            self._old_ctx.update(target, workload, config)

        def _query_inside(self, target: Any, workload: Any) -> Any:
            return None

        def coverage(self, warnings: Set[str]) -> Dict[str, Optional[int]]:
            """Operators with and without records. TVM notes one message for each it found no record for."""
            old = [str(workload) for workload in self.replaced]
            missing = [text for text in warnings if text.startswith(MISSING) and not any(word in text for word in old)]
            # Several templates of one operator have the same arguments.
            tuned = {workload[1:] for workload in self.tuned - self.replaced}
            return {"tasks": len(tuned) + len(missing), "untuned": len(missing)}

    return Counter()


@contextlib.contextmanager
def _ansor(path: str) -> Iterator[Records]:
    base = api("ansor_context")
    asked: Dict[str, bool] = {}

    class Counter(base):  # type: ignore[misc,valid-type]
        """Notes which operators worth tuning had a record."""

        def query(self, target: Any, workload_key: Any, has_complex_op: Any, dag: Any, func_name: Any) -> Any:
            state = self._old_ctx.query(target, workload_key, has_complex_op, dag, func_name)
            if has_complex_op:
                asked[str(workload_key)] = state is not None
            return state

        def update(self, target: Any, workload_key: Any, state: Any) -> None:
            self._old_ctx.update(target, workload_key, state)

        def _query_inside(self, target: Any, workload_key: Any, func_name: Any) -> Any:
            return None

    with failing_as("BadInput", f"{path} is no log of auto_scheduler that this TVM can read"):
        history = api("ansor_history")(str(path))
    # Operators without a record are scheduled as AutoTVM's fallback would: without tophub, too.
    with _autotvm([], Path("/nonexistent")) as records:
        records.config = dict(USE_ANSOR)
        with history, Counter():
            yield records
    records.coverage = {"tasks": len(asked), "untuned": sum(not found for found in asked.values())}
