"""A model made ready for import: every shape fixed, constants folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional


class Prepared(NamedTuple):
    """Files of one model in the forms that backends import; those that do not exist are None."""

    input_names: List[str]
    output_names: List[str]
    onnx: Optional[Path] = None
    original_onnx: Optional[Path] = None
    exported_program: Optional[Path] = None
    linear: Optional[Path] = None
    outputs: Optional[Path] = None
    versions: Dict[str, Any] = {}
