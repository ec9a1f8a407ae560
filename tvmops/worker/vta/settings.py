"""What a workload's `options.vta` and a host's variables say about VTA."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from ..failures import JobError

VTA_TREE_HELP = (
    "name a TVM source tree that has VTA (0.18 is the last release with it) in the host variable tvm_vta_tree, "
    "or as 'vta: {tree: ...}' in the workload's options"
)


class Settings(NamedTuple):
    """`tree` has vta/, `hardware` is 3rdparty/vta-hw; `expected` are counters of one inference, `within` fractions."""

    cache_dir: Path
    tree: Optional[Path] = None
    hardware: Optional[Path] = None
    config: Any = None
    global_scale: float = 8.0
    skip_conv_layers: List[int] = [0]
    start_name: str = "nn.max_pool2d"
    stop_name: str = "nn.global_avg_pool2d"
    opt_level: int = 3
    bitstream: Optional[Path] = None
    expected: Dict[str, int] = {}
    within: Dict[str, float] = {}


PATHS = ("tree", "hardware", "bitstream")
COUNTERS = (
    "inp_load_nbytes",
    "wgt_load_nbytes",
    "acc_load_nbytes",
    "uop_load_nbytes",
    "out_store_nbytes",
    "gemm_counter",
    "alu_counter",
)


def settings_of(options: Dict[str, Any]) -> Settings:
    """Reads `options` ("vta" and "cache_dir"). Raises JobError (BadInput) naming what is wrong."""
    given = options.get("vta") or {}
    if not isinstance(given, dict):
        raise JobError("BadInput", f"the workload's option 'vta' must be a mapping, not {given!r}")
    known = [name for name in Settings._fields if name != "cache_dir"]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise JobError("BadInput", f"unknown option vta.{unknown[0]}; known: {', '.join(known)}")
    values = {name: value for name, value in given.items() if value is not None}
    for name in PATHS:
        if name in values:
            values[name] = _path(name, values[name])
    settings = Settings(cache_dir=Path(options.get("cache_dir") or "~/.cache/tvmops").expanduser(), **values)
    _check_numbers(settings)
    _check_counters("expected", settings.expected)
    _check_counters("within", settings.within)
    return settings


def _path(name: str, value: Any) -> Path:
    path = Path(str(value)).expanduser()
    if not path.is_absolute():
        raise JobError(
            "BadInput", f"vta.{name} '{value}' must be absolute: a worker has no working directory of its own"
        )
    return path


def _check_numbers(settings: Settings) -> None:
    for name in ("start_name", "stop_name"):
        if not isinstance(getattr(settings, name), str):
            raise JobError("BadInput", f"vta.{name} must be the name of an operator, as nn.max_pool2d")
    if not _is_number(settings.global_scale) or settings.global_scale <= 0:
        raise JobError("BadInput", f"vta.global_scale must be a positive number, not {settings.global_scale!r}")
    if settings.opt_level not in (0, 1, 2, 3) or isinstance(settings.opt_level, bool):
        raise JobError("BadInput", f"vta.opt_level must be 0, 1, 2 or 3, not {settings.opt_level!r}")
    layers = settings.skip_conv_layers
    if not isinstance(layers, list) or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in layers):
        raise JobError("BadInput", f"vta.skip_conv_layers must be a list of numbers from 0 on, not {layers!r}")


def _check_counters(name: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise JobError("BadInput", f"vta.{name} must be a mapping of counters, not {values!r}")
    for counter, value in values.items():
        if counter not in COUNTERS:
            raise JobError("BadInput", f"vta.{name}: no counter '{counter}'; known: {', '.join(COUNTERS)}")
        if not _is_number(value) or value < 0:
            raise JobError("BadInput", f"vta.{name}.{counter} must be a number from 0 on, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
