"""Models of format `torch`. Torch runs in a child process (torch_child.py): the reference must not share a process
with TVM, since two LLVMs in one have crashed before, and a crash there costs this job only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import numpy as np

from .child import run_child
from .failures import JobError
from .models.base import Model
from .prepared import Prepared

FORMS = ("model.pt", "model.pt2", "model.onnx")


def input_specs(model: Model, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """A torch network does not say what it takes: the workload must."""
    del model
    if not wanted:
        raise JobError("DynamicShape", "a torch model's inputs must be given in the workload, with shape and dtype")
    return wanted


def prepare(model: Model, specs: Dict[str, Any], inputs: Dict[str, np.ndarray], directory: Path) -> Prepared:
    """Runs the network and exports it (TorchScript, exported program, ONNX), all in the child."""
    np.savez(str(directory / "torch_inputs.npz"), **{f"input_{i}": array for i, array in enumerate(inputs.values())})
    request = {"load": model.source["load"], "input_names": list(specs), "directory": str(directory)}
    answer = run_child("torch_child.py", request, directory, "torch")
    forms = {name: directory / name for name in FORMS if name not in answer["missing"]}
    return Prepared(
        list(specs),
        answer["output_names"],
        onnx=forms.get("model.onnx"),
        exported_program=forms.get("model.pt2"),
        torchscript=forms.get("model.pt"),
        outputs=directory / "torch_outputs.npz",
        specs=specs,
        folder=directory,
        missing="; ".join(f"torch cannot make {name}: {why}" for name, why in answer["missing"].items()),
        versions={"torch": answer["torch"]},
    )


def run_reference(prepared: Prepared, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """What torch answered in the child."""
    del inputs
    with np.load(str(prepared.outputs), allow_pickle=False) as stored:
        return {name: stored[f"output_{i}"] for i, name in enumerate(prepared.output_names)}
