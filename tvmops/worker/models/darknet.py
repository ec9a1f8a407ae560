"""Source kind `darknet`: `cfg` and `weights`, converted to ONNX, which every backend and the baseline read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..job import file_sha256
from .base import Model, required
from .locked import locked
from .pinned import pinned_file

# Part of what names a converted model: another number where the conversion gives other values.
CONVERSION = 1


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """The network as ONNX. `width` and `height` replace those of the cfg.

    Raises JobError: BadInput (with the cfg's line), UnsupportedOperator (a layer), Download.
    """
    from ..darknet import cfg, layers  # here: tvmops itself, which has no NumPy, reads models.wheel_store

    required(source, "cfg", "weights")
    described = pinned_file(source["cfg"], "the darknet 'cfg'", cache_dir)
    text = described.read_text(encoding="utf-8", errors="replace")
    width, height = (_size(source, key) for key in ("width", "height"))
    network = layers.network(cfg.parse(text, described.name), width, height)
    folder = cache_dir / "models" / "darknet"
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights(source["weights"], network, file_sha256(described), folder, cache_dir)
    target = folder / f"{_key(text, weights, network.picture)}.onnx"
    with locked(_lock(target)):
        if not target.is_file():
            _convert(network, weights, target)
    return Model(target, "onnx", file_sha256(target), None, source)


def _weights(where: Any, network: Any, cfg_sha256: str, folder: Path, cache_dir: Path) -> Path:
    """The file named, or one made from a seed."""
    from ..darknet.generate import generate

    if not (isinstance(where, dict) and "generated" in where):
        return pinned_file(where, "the darknet 'weights'", cache_dir)
    seed = where["generated"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 32:
        raise JobError("BadInput", f"weights: {{generated: SEED}} needs a whole number from 0 on, not {seed!r}")
    path = folder / f"{cfg_sha256}-{seed}-{CONVERSION}.weights"
    with locked(_lock(path)):
        if not path.is_file():
            generate(path, network, seed)
    return path


def _convert(network: Any, weights: Path, target: Path) -> None:
    from ..darknet import onnx_graph
    from ..darknet.weights import load

    model = onnx_graph.convert(network, load(weights, network))
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_bytes(model.SerializeToString())
    part.replace(target)


def _key(text: str, weights: Path, picture: Any) -> str:
    parts = (CONVERSION, hashlib.sha256(text.encode("utf-8")).hexdigest(), file_sha256(weights), picture)
    return hashlib.sha256(repr(parts).encode("utf-8")).hexdigest()


def _size(source: Dict[str, Any], key: str) -> int:
    value = source.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise JobError("BadInput", f"source of kind 'darknet': '{key}' must be a whole number above 0, not {value!r}")
    return value


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
