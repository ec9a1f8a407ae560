"""reference.npz: what every run of a workload gets as input and must give as output. Plain arrays, no pickles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import numpy as np


class Reference(NamedTuple):
    """Inputs and outputs by name, in the model's order; `knowledge` is what the task's check needs."""

    inputs: Dict[str, np.ndarray]
    outputs: Dict[str, np.ndarray]
    knowledge: Dict[str, Any]


def save(path: Path, reference: Reference) -> None:
    """Writes the file: input_0.., output_0.., and `meta`, JSON with their names and the knowledge."""
    meta = {
        "inputs": list(reference.inputs),
        "outputs": list(reference.outputs),
        "input_sha256": inputs_sha256(reference.inputs),
        "knowledge": reference.knowledge,
    }
    arrays = {f"input_{i}": array for i, array in enumerate(reference.inputs.values())}
    arrays.update({f"output_{i}": array for i, array in enumerate(reference.outputs.values())})
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode("utf-8"), dtype=np.uint8)
    temporary = path.with_name(".part." + path.name)
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    temporary.replace(path)


def load(path: Path) -> Reference:
    """Reads what `save` wrote."""
    with np.load(str(path), allow_pickle=False) as stored:
        meta = json.loads(stored["meta"].tobytes().decode("utf-8"))
        inputs = {name: stored[f"input_{i}"] for i, name in enumerate(meta["inputs"])}
        outputs = {name: stored[f"output_{i}"] for i, name in enumerate(meta["outputs"])}
    return Reference(inputs, outputs, meta["knowledge"])


def inputs_sha256(inputs: Dict[str, np.ndarray]) -> str:
    """sha256 over names, shapes, types and bytes of all inputs."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def specs(arrays: Dict[str, np.ndarray]) -> Dict[str, Dict[str, Any]]:
    """Shape and dtype of each array, as JSON."""
    return {name: {"shape": list(array.shape), "dtype": array.dtype.name} for name, array in arrays.items()}


def name_outputs(names: List[str], arrays: List[np.ndarray]) -> Dict[str, np.ndarray]:
    """Arrays by name; a model compiled from another format may have lost the names, never the order."""
    return {names[i] if i < len(names) else f"output_{i}": np.asarray(array) for i, array in enumerate(arrays)}
