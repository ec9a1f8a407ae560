"""Loads the worker as the package it is in a stack's environment, where nothing else of tvmops is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

WORKER = Path(__file__).resolve().parent.parent / "tvmops" / "worker"


def load_worker() -> None:
    """As tvmops/worker/__main__.py does: `tvmops_worker` can be imported afterwards."""
    spec = importlib.util.spec_from_file_location(
        "tvmops_worker", WORKER / "__init__.py", submodule_search_locations=[str(WORKER)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["tvmops_worker"] = package
    spec.loader.exec_module(package)
