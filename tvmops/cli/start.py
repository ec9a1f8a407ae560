"""The console script `tvmops`: Invoke's program, with a quicker import of Invoke."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

MOCK = "unittest.mock"
YAML = "invoke.vendor.yaml"


def main() -> None:
    """Run the command line."""
    import_invoke()
    from tvmops.cli import program

    program.main()


def import_invoke() -> None:
    """Import Invoke without `unittest.mock` and with the YAML that is needed anyway, unless they are there already.

    Invoke wants one class of the former, for a test double that no command uses. It brings asyncio and ssl along: 28 ms
    at the start of every command, a twentieth of a whole run that changes nothing on eight boards. Invoke's own copy of
    PyYAML takes 6 ms.
    """
    if MOCK in sys.modules or "invoke" in sys.modules:
        return
    import yaml

    sys.modules.setdefault(YAML, yaml)
    stand_in = ModuleType(MOCK)
    stand_in.__dict__["Mock"] = object
    sys.modules[MOCK] = stand_in
    try:
        import_module("invoke")
    finally:
        # Whoever imports it from here on gets the real one.
        del sys.modules[MOCK]
