"""Building with what MetaSchedule measured, and counting what it does not cover. TVM with Relax."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from tvm import relax

from ..failures import JobError
from .meta_schedule import open_database, prepared
from .names import prim_function

# How a function says that its schedule is made; the first name since 0.24.
SCHEDULED = ("tirx.is_scheduled", "tir.is_scheduled")


def applied(module: Any, target: Any, folder: Path) -> Tuple[Any, Dict[str, Optional[int]]]:
    """The module with the best records of a database in it, and how many functions have none.

    TVM itself says nothing where no record is found, or where no database is asked at all.
    """
    if not folder.is_dir():
        raise JobError("BadInput", f"{folder}: a log of MetaSchedule is a folder with TVM's two database files")
    lowered = prepared(module, target)
    before = _open(lowered)
    with target, open_database(folder, ours=False):
        made = relax.transform.MetaScheduleApplyDatabase(enable_warning=True)(lowered)
    return made, {"tasks": before, "untuned": _open(made)}


def _open(module: Any) -> int:
    """Functions that nobody has scheduled."""
    functions = [one for one in module.functions.values() if isinstance(one, prim_function())]
    return sum(not any((one.attrs or {}).get(name, False) for name in SCHEDULED) for one in functions)
