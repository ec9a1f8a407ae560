"""TVM renames things between releases: an API by the first of its names that this release has."""

from __future__ import annotations

import importlib
from typing import Any, Dict, List


def find(names: Dict[str, List[str]], name: str) -> Any:
    """The object behind `name` of a backend's table, or None where this release of TVM has none."""
    for path in names[name]:
        try:
            return _object(path)
        except (AttributeError, ImportError):
            continue
    return None


def _object(path: str) -> Any:
    module, *parts = path.split(".")
    found = importlib.import_module(module)
    for part in parts:
        module = f"{module}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(module)
    return found
