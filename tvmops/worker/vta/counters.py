"""What VTA's simulator counts: bytes moved and instructions done, the same on every machine."""

from __future__ import annotations

import json
from typing import Any, Dict

from ..failures import JobError
from .settings import COUNTERS, Settings


def read(text: str) -> Dict[str, int]:
    """The simulator's report. Raises JobError (Compile) when it is another simulator's."""
    try:
        found = json.loads(text)
        return {name: int(found[name]) for name in COUNTERS}
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(
            "Compile", f"VTA's simulator reports what tvmops cannot read ({error!r}): {text[:200]}"
        ) from error


def beside_expected(found: Dict[str, int], settings: Settings) -> Dict[str, Dict[str, Any]]:
    """Each counter with what the workload expects and the relative difference; None where it expects nothing."""
    table = {}
    for name, value in found.items():
        expected = settings.expected.get(name)
        table[name] = {"counted": value, "expected": expected, "difference": _difference(value, expected)}
    return table


def _difference(value: int, expected: Any) -> Any:
    if expected is None:
        return None
    return (value - expected) / expected if expected else float(value != 0)


def check(table: Dict[str, Dict[str, Any]], settings: Settings) -> None:
    """Raises JobError (WrongOutput) at a counter that differs by more than `within` says (nothing: by anything)."""
    for name, row in table.items():
        if row["expected"] is None:
            continue
        allowed = settings.within.get(name, 0.0)
        if abs(row["difference"]) > allowed:
            raise JobError(
                "WrongOutput",
                f"VTA's simulator counted {name} {row['counted']} in one inference, the workload expects "
                f"{row['expected']} (within {allowed:.3%}); another model, packing, tuning log or VTA release",
            )
