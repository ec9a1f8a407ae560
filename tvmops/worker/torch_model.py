"""Models of format `torch`. Torch runs in a child process (torch_child.py): the reference must not share a process
with TVM, since two LLVMs in one have crashed before, and a crash there costs this job only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import numpy as np

from .failures import JobError
from .models.base import Model
from .prepared import Prepared

CHILD_SECONDS = 600


def input_specs(model: Model, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """A torch network does not say what it takes: the workload must."""
    del model
    if not wanted:
        raise JobError("DynamicShape", "a torch model's inputs must be given in the workload, with shape and dtype")
    return wanted


def prepare(model: Model, specs: Dict[str, Any], inputs: Dict[str, np.ndarray], directory: Path) -> Prepared:
    """Exports the network (exported program for TVM, ONNX for the baseline) and runs it, all in the child."""
    np.savez(str(directory / "torch_inputs.npz"), **{f"input_{i}": array for i, array in enumerate(inputs.values())})
    request = {
        "weights": str(model.path),
        "code_wheel": model.source["code_wheel"],
        "factory": model.source["factory"],
        "input_names": list(specs),
        "directory": str(directory),
    }
    answer = _run_child(request, directory)
    return Prepared(
        list(specs),
        answer["output_names"],
        onnx=directory / "model.onnx",
        exported_program=directory / "model.pt2",
        outputs=directory / "torch_outputs.npz",
        versions={"torch": answer["torch"]},
    )


def run_reference(prepared: Prepared, inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """What torch answered in the child."""
    del inputs
    with np.load(str(prepared.outputs), allow_pickle=False) as stored:
        return {name: stored[f"output_{i}"] for i, name in enumerate(prepared.output_names)}


def _run_child(request: Dict[str, Any], directory: Path) -> Dict[str, Any]:
    child = Path(__file__).with_name("torch_child.py")
    try:
        done = subprocess.run(
            [sys.executable, str(child)],
            input=json.dumps(request).encode("utf-8"),
            check=False,
            timeout=CHILD_SECONDS,
            cwd=str(directory),
        )
    except subprocess.TimeoutExpired:
        raise JobError("Internal", f"torch did not export the model within {CHILD_SECONDS} s") from None
    answer = directory / "torch_answer.json"
    if done.returncode or not answer.is_file():
        raise JobError("BadInput", f"torch cannot export the model (exit status {done.returncode}); see log.txt")
    return json.loads(answer.read_text(encoding="utf-8"))
