"""VTA's Python in this process: loaded once, for one configuration, from the user's tree.

Importing it registers operators and reads the configuration into module-level variables, so a second configuration
in the same process would silently compile for the first. It is refused.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

import tvm
import tvm.target

from ..failures import JobError, failing_as
from .hardware import complete
from .tree import Sources

KEYS = "vta,cpu"


class Loaded(NamedTuple):
    """The package `vta` and its environment (the object that knows the configuration)."""

    package: Any
    env: Any


# At most one: the package itself is imported only once, too.
_loaded: Dict[Tuple[str, str, str], Loaded] = {}


def load(sources: Sources, config: Dict[str, Any]) -> Loaded:
    """VTA for `config`. Raises JobError: BadInput (another one is loaded already), Compile (it cannot be imported)."""
    wanted = (str(sources.tree), str(sources.hardware), json.dumps(config, sort_keys=True))
    if not _loaded:
        with failing_as("Compile", f"VTA's Python in {sources.tree} cannot be imported with TVM {tvm.__version__}"):
            _loaded[wanted] = _import(sources, config)
    if wanted not in _loaded:
        ((key, loaded),) = _loaded.items()
        raise JobError(
            "BadInput",
            f"this worker has loaded VTA for {loaded.env.MODEL} from {key[0]} and can hold no second one; "
            "run hosts with different VTA configurations in sweeps of their own (--limit)",
        )
    return _loaded[wanted]


def _import(sources: Sources, config: Dict[str, Any]) -> Loaded:
    """VTA looks for its configuration in its hardware repository: while it is imported it sees a folder of ours."""
    stand_in_for_target()
    folder = str(sources.tree / "vta" / "python")
    writes = sys.dont_write_bytecode
    with tempfile.TemporaryDirectory() as scratch:
        _configure(sources, config, Path(scratch) / "config")
        os.environ["VTA_HW_PATH"] = scratch
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True  # the tree is the user's
        try:
            package = importlib.import_module("vta")
            importlib.import_module("vta.top")
        finally:
            sys.path.remove(folder)
            sys.dont_write_bytecode = writes
            del os.environ["VTA_HW_PATH"]
    return Loaded(package, package.get_env())


def _configure(sources: Sources, config: Dict[str, Any], folder: Path) -> None:
    folder.mkdir()
    shutil.copyfile(str(sources.hardware / "config" / "pkg_config.py"), str(folder / "pkg_config.py"))
    (folder / "vta_config.json").write_text(json.dumps(config), encoding="utf-8")


def stand_in_for_target() -> None:
    """TVM 0.19 has lost tvm.target.vta, which VTA's Python calls; the kind of target, ext_dev, is still there."""
    if not hasattr(tvm.target, "vta"):
        tvm.target.vta = target


def target(model: str = "unknown", options: Any = None) -> Any:
    """VTA as a target of TVM; `model` as VTA names it, such as sim_1x16_i8w8a32_15_15_18_17."""
    words = ["ext_dev", "-device=vta", f"-keys={KEYS}", f"-model={model}"]
    words += [options] if isinstance(options, str) else list(options or [])
    return tvm.target.Target(" ".join(words))


def configuration_json(config: Dict[str, Any]) -> str:
    """What a board's runtime is told."""
    return json.dumps(complete(config), indent=2)
