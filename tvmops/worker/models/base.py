"""What a model source gives: one model file whose content is known, and the other files that came with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional

from ..failures import JobError


class Model(NamedTuple):
    """A fetched model. `format` is a key of formats.FORMATS; `read` gives another file of the same source."""

    path: Path
    format: str
    sha256: str
    read: Optional[Callable[[str], bytes]] = None
    source: Dict[str, Any] = {}

    def companion(self, member: str) -> bytes:
        """A file beside the model, e.g. its labels. Raises JobError (BadInput) when the source has none."""
        if self.read is None:
            raise JobError(
                "BadInput", f"a model of source kind '{self.source.get('kind')}' has no file '{member}' beside it"
            )
        return self.read(member)


def required(source: Dict[str, Any], *keys: str) -> None:
    """Raises JobError (BadInput) naming the first key that the source lacks."""
    for key in keys:
        if not source.get(key):
            raise JobError("BadInput", f"source of kind '{source.get('kind')}' needs '{key}'")


def needs_package(package: str, extra: str) -> None:
    """Raises JobError (BadInput) when the stack's environment was made without a package."""
    if not has_package(package):
        raise JobError("BadInput", f"this stack's environment has no {package}; make it with the extra '{extra}'")


def has_package(name: str) -> bool:
    """Whether this environment has a package (or a module inside one), without loading it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
