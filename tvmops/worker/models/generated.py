"""Source kind `generated`: a small linear model made from a seed. For trying the pipeline without network or TVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..job import file_sha256
from .base import Model


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """`features` inputs, `outputs` outputs, weights from `seed`: the same file on every machine."""
    features, outputs, seed = (int(source.get(key, default)) for key, default in DEFAULTS.items())
    if not (0 < features <= 4096 and 0 < outputs <= 4096 and seed >= 0):
        raise JobError(
            "BadInput", "a generated model needs features and outputs from 1 to 4096 and a seed of at least 0"
        )
    folder = cache_dir / "models" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"linear-{features}-{outputs}-{seed}.npz"
    if not path.is_file():
        _write(path, features, outputs, seed)
    return Model(path, "linear", file_sha256(path), None, source)


DEFAULTS = {"features": 16, "outputs": 4, "seed": 0}


def _write(path: Path, features: int, outputs: int, seed: int) -> None:
    import numpy as np  # here: tvmops itself, which has no NumPy, reads models.wheel_store

    generator = np.random.RandomState(seed)
    weight = generator.standard_normal((features, outputs)).astype(np.float32)
    bias = generator.standard_normal(outputs).astype(np.float32)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as stream:
        np.savez(stream, weight=weight, bias=bias)
    temporary.replace(path)
