"""Models into Relay: from ONNX here, from frameworks in a child process, TVM's own networks as they were saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import tvm
from tvm import relay

from ..child import run_child
from ..failures import JobError, first_words
from ..prepared import Prepared
from .relay_names import api

_NAMED = re.compile(r"not (?:supported|implemented)[^:]*:\s*(.+)", re.DOTALL)


class RelayModule(NamedTuple):
    """An IRModule with its parameters."""

    mod: Any
    params: Dict[str, Any]


def import_model(prepared: Prepared) -> RelayModule:
    """From the form nearest to the model's own. Raises JobError: UnsupportedOperator, BadInput, Compile."""
    if prepared.relay is not None:
        return load_module(prepared.relay)
    if prepared.mxnet is not None:
        return _by_child("mxnet", prepared, [str(path) for path in prepared.mxnet])
    if prepared.torchscript is not None:
        return _by_child("torch", prepared, [str(prepared.torchscript)])
    if prepared.onnx is not None:
        return _from_onnx(prepared.onnx)
    raise JobError("BadInput", f"Relay reads none of this model's forms; {prepared.missing or 'it has none'}")


def load_module(folder: Path) -> RelayModule:
    """What save_module left in `folder`."""
    mod = tvm.ir.load_json((folder / "relay.json").read_text(encoding="utf-8"))
    return RelayModule(mod, dict(api("load_params")((folder / "relay.params").read_bytes())))


def save_module(module: RelayModule, folder: Path) -> None:
    """Module and parameters as two files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "relay.json").write_text(tvm.ir.save_json(module.mod), encoding="utf-8")
    (folder / "relay.params").write_bytes(api("save_params")(module.params))


def _from_onnx(path: Path) -> RelayModule:
    import onnx

    try:
        mod, params = relay.frontend.from_onnx(onnx.load(str(path)), freeze_params=True)
    except Exception as error:
        raise refusal(type(error).__name__, str(error)) from error
    return RelayModule(mod, params)


def _by_child(framework: str, prepared: Prepared, files: List[str]) -> RelayModule:
    folder = prepared.folder
    assert folder is not None
    request = {"framework": framework, "files": files, "inputs": prepared.specs, "folder": str(folder)}
    answer = run_child("backends/relay_child.py", request, folder, f"TVM's importer of {framework} models")
    if not answer["ok"]:
        raise refusal(answer["type"], answer["message"])
    return load_module(folder)


def refusal(kind: str, message: str) -> JobError:
    """Why an importer gave up, from the exception's class and words."""
    words = first_words(Exception(message))
    if kind in ("OpNotImplemented", "NotImplementedError", "OpAttributeUnImplemented"):
        named = _NAMED.search(message)
        what = " ".join(named.group(1).split())[:200].strip("[]'. ") if named else words
        told = f"TVM's importer lacks the operator {what}" if named else f"TVM's importer lacks this: {words}"
        return JobError("UnsupportedOperator", f"{told}; export the model without it, or choose another stack")
    if kind == "ModuleNotFoundError":
        return JobError("BadInput", f"this stack's environment lacks a package: {words}; make it with the extra")
    return JobError("Compile", f"TVM cannot import the model: {words}")
