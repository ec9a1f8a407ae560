"""Starts the worker when its directory is run: `python /path/to/worker --status-fd N --backend relax`.

Running the directory puts it on sys.path, where its files would hide modules of the environment that have the same
names. So it is taken off again, and the directory is loaded as the package `tvmops_worker`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "tvmops_worker"


def load_package():
    """This directory as the package NAME."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    spec = importlib.util.spec_from_file_location(
        NAME, str(here / "__init__.py"), submodule_search_locations=[str(here)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    load_package()
    sys.exit(importlib.import_module(NAME + ".loop").main(sys.argv[1:]))
