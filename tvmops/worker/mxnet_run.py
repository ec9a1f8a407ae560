"""MXNet in a child process: its functions of TVM's names would be mixed up with TVM's in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from .child import run_child


def run_mxnet(request: Dict[str, Any], folder: Path) -> Dict[str, Any]:
    """What mxnet_child.py answers. Raises JobError."""
    return run_child("mxnet_child.py", request, folder, "MXNet")
