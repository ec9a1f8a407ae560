"""Which device of a board runs what was compiled for a target."""

from __future__ import annotations

from typing import Any, Dict

# A target's kind -> the device type as TVM names it; every other kind runs on the CPU.
DEVICES = {"opencl": "cl", "cuda": "cuda", "rocm": "rocm", "vulkan": "vulkan", "metal": "metal", "ext_dev": "ext_dev"}
KINDS_BY_TAG = {"nvidia/": "cuda"}


def device_of(target: Dict[str, Any]) -> str:
    """The device type: "cpu", "cl", "cuda" and so on."""
    kind = target.get("kind")
    if kind is None:
        tag = str(target.get("tag", ""))
        kind = next((found for prefix, found in KINDS_BY_TAG.items() if tag.startswith(prefix)), "llvm")
    return DEVICES.get(str(kind), "cpu")
