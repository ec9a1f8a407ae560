"""A board that runs Relay's graph executor."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import numpy as np

from ..failures import JobError
from .relay_names import api
from .rpc_board import RpcBoard

ENTRY = "default"
MICROSECONDS = 1e-6
NO_OPERATOR = "__nop"  # a reshape, which moves nothing


class GraphBoard(RpcBoard):
    """Its executor lives on the board; what is measured is one call of "run" with the inputs set."""

    _library: Any = None
    _executor: Any = None
    _inputs: Dict[str, np.ndarray] = {}

    def start(self, library: Any, inputs: Dict[str, np.ndarray]) -> None:
        """Inputs go by name: the graph keeps the model's, but not their order."""
        self._library = library
        self._executor = api("graph_executor").GraphModule(library[ENTRY](self.device))
        known = json.loads(str(library["get_graph_json"]()))
        _check_inputs(inputs, known)
        self._inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        for name, array in self._inputs.items():
            self._executor.set_input(name, array)

    def infer(self) -> None:
        """A device such as a GPU may still be busy when the call returns: wait for it."""
        self._executor.run()
        self.device.sync()

    def fetch(self) -> List[np.ndarray]:
        """In the model's order."""
        return [self._executor.get_output(i).numpy() for i in range(self._executor.get_num_outputs())]

    def samples(self, repeat: int, number: int) -> List[float]:
        """TVM's time evaluator."""
        return list(self._executor.module.time_evaluator("run", self.device, number=number, repeat=repeat)().results)

    def profile(self) -> List[Dict[str, Any]]:
        """By the debug executor, which times every operator by itself."""
        with self.explained("profile the model on"):
            debug = self._library["debug_create"](ENTRY, self.device)
            for name, array in self._inputs.items():
                debug["set_input"](name, api("array")(array, self.device))
            debug["run"]()
            report = json.loads(str(debug["profile_rpc"]()))
            del debug
        return operators(report)

    def forget(self) -> None:
        """Library and executor."""
        self._library = self._executor = None


def operators(report: Dict[str, Any]) -> List[Dict[str, Any]]:
    """TVM's profiling report (JSON) as operator, device, seconds (of all its calls in one run) and calls."""
    found = []
    for call in report["calls"]:
        if _value(call, "Name") == NO_OPERATOR:
            continue
        seconds = float(_value(call, "Duration (us)")) * MICROSECONDS
        calls = int(_value(call, "Count")) if "Count" in call else 1
        found.append(
            {
                "operator": str(_value(call, "Name")),
                "device": str(_value(call, "Device")),
                "seconds": seconds,
                "calls": calls,
            }
        )
    return sorted(found, key=lambda one: -float(one["seconds"]))


def _value(call: Dict[str, Any], key: str) -> Any:
    """A metric is an object with its value under its unit's name, {"microseconds": 3.1}; older releases: the value."""
    value = call[key]
    return next(iter(value.values())) if isinstance(value, dict) else value


def _check_inputs(inputs: Dict[str, np.ndarray], graph: Dict[str, Any]) -> None:
    nodes = {node["name"] for node in graph["nodes"] if node["op"] == "null"}
    unknown = sorted(set(inputs) - nodes)
    if unknown:
        takes = ", ".join(sorted(nodes)[:8])
        raise JobError("BadInput", f"the compiled model has no input '{unknown[0]}'; it has: {takes}")
