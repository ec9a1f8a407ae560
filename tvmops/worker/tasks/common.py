"""What several tasks need."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from ..failures import JobError


def verdict(ok: bool, answer: str, expected: str) -> Dict[str, Any]:
    """What a check returns."""
    return {"ok": bool(ok), "answer": answer, "expected": expected}


def setting(settings: Dict[str, Any], key: str) -> Any:
    """A setting that the task cannot do without. Raises JobError (BadInput)."""
    if settings.get(key) is None:
        raise JobError("BadInput", f"task '{settings.get('kind')}' needs '{key}'")
    return settings[key]


def only_input(settings: Dict[str, Any], specs: Dict[str, Any], rank: int, dtype: str) -> Tuple[str, Any]:
    """Name and shape of the one input. Raises JobError (BadInput) when the model takes something else."""
    if len(specs) == 1:
        ((name, spec),) = specs.items()
        if len(spec["shape"]) == rank and spec["dtype"] == dtype:
            return name, spec["shape"]
    found = ", ".join(f"{name} {spec['dtype']}{spec['shape']}" for name, spec in specs.items())
    raise JobError(
        "BadInput", f"task '{settings['kind']}' feeds one {dtype} input with {rank} dimensions; the model has {found}"
    )
