"""Source kind `testing`: a network that TVM's releases with Relay carry in relay.testing, its weights from a seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..job import file_sha256, write_atomically
from .base import Model, has_package, required

NETWORKS = (
    "mlp",
    "resnet-18",
    "resnet-34",
    "resnet-50",
    "mobilenet",
    "squeezenet_v1.0",
    "squeezenet_v1.1",
    "vgg-11",
    "vgg-16",
    "vgg-19",
    "inception_v3",
)
DEFAULTS = {"seed": 0, "batch": 1, "classes": 1000}


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """`model` (one of NETWORKS), `seed`, `batch`, `classes`. Raises JobError (BadInput)."""
    required(source, "model")
    if source["model"] not in NETWORKS:
        raise JobError("BadInput", f"TVM has no testing network '{source['model']}'; it has: {', '.join(NETWORKS)}")
    if not has_package("tvm.relay"):
        raise JobError(
            "BadInput", "source kind 'testing' needs a stack with Relay (TVM 0.8 to 0.19); this one has none"
        )
    settings = {"model": source["model"]}
    for key, default in DEFAULTS.items():
        value = source.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < (0 if key == "seed" else 1):
            raise JobError("BadInput", f"'{key}' of a testing network must be a whole number, not {value!r}")
        settings[key] = value
    folder = cache_dir / "models" / "testing"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("-".join(str(value) for value in settings.values()) + ".json")
    write_atomically(path, json.dumps(settings, sort_keys=True).encode("utf-8"))
    return Model(path, "testing", file_sha256(path), None, source)
