"""SHA-256 of files: what everything that is fetched, built or shipped is known by."""

from __future__ import annotations

import hashlib
from pathlib import Path

PIECE = 1 << 20  # bytes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, as hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
