"""What compiles and runs models: one module per API generation. Each is imported only when it is chosen."""

from __future__ import annotations

import importlib
from typing import Dict

from .base import Backend

BACKENDS: Dict[str, str] = {
    "relax": "relax",
    "relay": "relay",
    "fake": "fake",
}


def load_backend(name: str) -> Backend:
    """The backend of that name, its packages imported. Raises KeyError for a name that is not in BACKENDS."""
    module = importlib.import_module("." + BACKENDS[name], __name__)
    return module.create()
