"""Facts of hosts, kept between commands: one JSON file per host."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from tvmops.paths import state_dir

MAX_AGE = 86400.0


class FactsCache:
    """Facts by host name under `.tvmops/facts/`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir() / "facts"

    def _path(self, host: str) -> Path:
        return self.folder / (host.replace("/", "_") + ".json")

    def get(self, host: str, max_age: float = MAX_AGE) -> dict[str, Any] | None:
        """Facts gathered at most `max_age` seconds ago, or None (also when the file is damaged)."""
        try:
            kept = json.loads(self._path(host).read_text(encoding="utf-8"))
            fresh = 0 <= time.time() - kept["gathered_at"] <= max_age
            return dict(kept["facts"]) if fresh else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, host: str, facts: dict[str, Any]) -> None:
        """Keep facts; the file is either the old or the new one at any moment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(host)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"gathered_at": time.time(), "facts": facts}, indent=1), encoding="utf-8")
        temporary.replace(path)
