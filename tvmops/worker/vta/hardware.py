"""The accelerator's geometry: what VTA calls its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from ..failures import JobError

# Every sample configuration of the hardware repository has this geometry; the published bitstreams do, too.
GEOMETRY: Dict[str, Any] = {
    "HW_VER": "0.0.2",
    "LOG_INP_WIDTH": 3,
    "LOG_WGT_WIDTH": 3,
    "LOG_ACC_WIDTH": 5,
    "LOG_BATCH": 0,
    "LOG_BLOCK": 4,
    "LOG_UOP_BUFF_SIZE": 15,
    "LOG_INP_BUFF_SIZE": 15,
    "LOG_WGT_BUFF_SIZE": 18,
    "LOG_ACC_BUFF_SIZE": 17,
}
SIMULATOR = "sim"
FPGAS = ("pynq", "ultra96")
LARGEST_LOGARITHM = 31


def is_vta(target: Dict[str, Any]) -> bool:
    """Is this TVM target VTA?"""
    return target.get("kind") == "ext_dev" and target.get("device") == "vta"


def configuration(model: str, given: Any = None) -> Dict[str, Any]:
    """VTA's configuration for a target's `model`, with the geometry of `given`: a mapping, or the path of a JSON file.

    A file's TARGET is not used: the host decides what it is. Raises JobError (BadInput).
    """
    if model != SIMULATOR and model not in FPGAS:
        known = ", ".join((SIMULATOR, *FPGAS))
        raise JobError("BadInput", f"the VTA target has the model '{model}'; tvmops runs VTA on: {known}")
    settings = {**GEOMETRY, **_given(given)}
    settings["TARGET"] = model
    for name, value in settings.items():
        if name.startswith("LOG_") and (isinstance(value, bool) or not isinstance(value, int)):
            raise JobError("BadInput", f"VTA configuration: {name} must be a whole number, not {value!r}")
        if name.startswith("LOG_") and not 0 <= value <= LARGEST_LOGARITHM:
            raise JobError("BadInput", f"VTA configuration: {name} is a logarithm from 0 to 31, not {value}")
    if settings["LOG_INP_WIDTH"] != 3 or settings["LOG_WGT_WIDTH"] != 3:
        raise JobError(
            "BadInput", "VTA configuration: LOG_INP_WIDTH and LOG_WGT_WIDTH must be 3 (8 bits): TVM has no other"
        )
    return settings


def _given(given: Any) -> Dict[str, Any]:
    if isinstance(given, str):
        given = _read(Path(given).expanduser())
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise JobError("BadInput", f"vta.config must be a mapping or the path of a JSON file, not {given!r}")
    unknown = sorted(set(given) - set(GEOMETRY) - {"TARGET"})
    if unknown:
        raise JobError("BadInput", f"VTA configuration: unknown {', '.join(unknown)}; known: {', '.join(GEOMETRY)}")
    return given


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError("BadInput", f"{path}: the VTA configuration cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise JobError("BadInput", f"{path}: the VTA configuration is not JSON: {error}") from error


def complete(config: Dict[str, Any]) -> Dict[str, Any]:
    """With the values that VTA derives: what a board's runtime is reconfigured with."""
    return {
        **config,
        "LOG_BLOCK_IN": config["LOG_BLOCK"],
        "LOG_BLOCK_OUT": config["LOG_BLOCK"],
        "LOG_OUT_WIDTH": config["LOG_INP_WIDTH"],
        "LOG_OUT_BUFF_SIZE": config["LOG_ACC_BUFF_SIZE"] + config["LOG_INP_WIDTH"] - config["LOG_ACC_WIDTH"],
    }


def bitstream_name(config: Dict[str, Any]) -> str:
    """What VTA calls the bitstream of this geometry, such as 1x16_i8w8a32_15_15_18_17."""
    widths = "".join(f"{letter}{1 << config[f'LOG_{name}_WIDTH']}" for letter, name in _WIDTHS)
    buffers = "_".join(str(config[f"LOG_{name}_BUFF_SIZE"]) for name in ("UOP", "INP", "WGT", "ACC"))
    return f"{1 << config['LOG_BATCH']}x{1 << config['LOG_BLOCK']}_{widths}_{buffers}"


_WIDTHS = (("i", "INP"), ("w", "WGT"), ("a", "ACC"))
