"""Models of format `mxnet`: symbol and params. MXNet runs in a child process, as the reference, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np

from .failures import JobError
from .models.base import Model
from .models.gluon import DEFAULTS
from .mxnet_run import run_mxnet
from .onnx_twin import twin
from .prepared import Prepared


def input_specs(model: Model, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """A symbol has no shapes: the workload gives them; a zoo network's one input is `data`, an image."""
    if wanted:
        return wanted
    if not model.source.get("model"):
        raise JobError("DynamicShape", "a symbol file has no shapes: give 'inputs' in the workload, shape and dtype")
    side = int(model.source.get("image", DEFAULTS["image"]))
    return {"data": {"shape": [1, 3, side, side], "dtype": "float32"}}


def prepare(model: Model, specs: Dict[str, Any], inputs: Dict[str, np.ndarray], directory: Path) -> Prepared:
    """Leaves model-symbol.json and model.params (softmax included), MXNet's answer, and an ONNX twin where it can."""
    np.savez(str(directory / "mxnet_inputs.npz"), **{f"input_{i}": array for i, array in enumerate(inputs.values())})
    symbol, params, exported = (directory / name for name in ("model-symbol.json", "model.params", "exported.onnx"))
    request = {
        "do": "prepare",
        "symbol": model.source["symbol_file"],
        "params": model.source["params_file"],
        "softmax": bool(model.source.get("softmax")),
        "inputs": specs,
        "arrays": str(directory / "mxnet_inputs.npz"),
        "outputs": str(directory / "mxnet_outputs.npz"),
        "save_symbol": str(symbol),
        "save_params": str(params),
        "onnx": str(exported),
    }
    answer = run_mxnet(request, directory)
    onnx, why = twin(exported, directory) if answer["onnx"] else (None, answer["why"])
    return Prepared(
        list(specs),
        answer["output_names"],
        onnx=onnx,
        mxnet=(symbol, params),
        outputs=directory / "mxnet_outputs.npz",
        specs=specs,
        folder=directory,
        missing=f"MXNet cannot export it as ONNX: {why}" if why else "",
        versions={"mxnet": answer["mxnet"]},
    )


def run_reference(prepared: Prepared, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """What MXNet answered in the child."""
    del inputs
    with np.load(str(prepared.outputs), allow_pickle=False) as stored:
        return {name: stored[f"output_{i}"] for i, name in enumerate(prepared.output_names)}
