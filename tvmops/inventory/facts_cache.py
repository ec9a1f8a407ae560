"""Facts of hosts, kept between commands: one JSON file per host."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from tvmops.inventory.model import Host
from tvmops.paths import state_dir

MAX_AGE = 86400.0
# A host that is reached another way may be another machine of the same name: another inventory's, another lab's.
REACHED_BY = (
    "ansible_connection", "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port",
    "ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args",
)  # fmt: skip


class FactsCache:
    """Facts of hosts under `.tvmops/facts/`, by name."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir() / "facts"

    def _path(self, host: Host) -> Path:
        return self.folder / (host.name.replace("/", "_") + ".json")

    def get(self, host: Host, max_age: float = MAX_AGE) -> dict[str, Any] | None:
        """Facts gathered the same way at most `max_age` seconds ago, or None (also when the file is damaged)."""
        kept = self._kept(host)
        return kept["facts"] if kept and 0 <= time.time() - kept["gathered_at"] <= max_age else None

    def gathered_at(self, host: Host) -> float | None:
        """When the host's facts were gathered, seconds since 1970; None when there are none."""
        kept = self._kept(host)
        return kept["gathered_at"] if kept else None

    def put(self, host: Host, facts: dict[str, Any]) -> None:
        """Keep facts; the file is either the old or the new one at any moment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(host)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        kept = {"gathered_at": time.time(), "reached": _reached(host), "facts": facts}
        temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        temporary.replace(path)

    def _kept(self, host: Host) -> dict[str, Any] | None:
        try:
            kept = json.loads(self._path(host).read_text(encoding="utf-8"))
            if kept["reached"] != _reached(host):
                return None
            return {"gathered_at": float(kept["gathered_at"]), "facts": dict(kept["facts"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _reached(host: Host) -> str:
    """A hash, because ssh arguments may hold what is nobody's business."""
    given = {name: host.vars[name] for name in REACHED_BY if name in host.vars}
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()
