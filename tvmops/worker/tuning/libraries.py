"""Names of built trials."""

from __future__ import annotations

import uuid
from pathlib import Path


def new_library(folder: Path) -> Path:
    """A name that is not taken, there and on a board that loads one library after the other."""
    return folder / f"trial-{uuid.uuid4().hex}.so"
