"""A model made ready for import: every shape fixed, constants folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple


class Prepared(NamedTuple):
    """Files of one model in the forms that backends import; those that do not exist are None.

    `mxnet` is symbol and parameters, `relay` a folder with a saved module. `specs` has each input's shape and dtype,
    `folder` is where importers may leave files. `missing` says why a form is not there.
    """

    input_names: List[str]
    output_names: List[str]
    onnx: Optional[Path] = None
    original_onnx: Optional[Path] = None
    exported_program: Optional[Path] = None
    linear: Optional[Path] = None
    outputs: Optional[Path] = None
    versions: Dict[str, Any] = {}
    torchscript: Optional[Path] = None
    mxnet: Optional[Tuple[Path, Path]] = None
    relay: Optional[Path] = None
    specs: Dict[str, Any] = {}
    folder: Optional[Path] = None
    missing: str = ""
