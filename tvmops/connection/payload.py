"""The agent as one file to send: a zipapp, the same bytes wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from functools import lru_cache
from pathlib import Path

AGENT_SOURCE = Path(__file__).resolve().parent.parent / "agent"
PACKAGE = "tvmops_agent"
STUB = b"from tvmops_agent.__main__ import main\n\nmain()\n"
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_building = threading.Lock()


def agent_zipapp() -> tuple[bytes, str]:
    """The zipapp's bytes and their sha256. Unpacked to `<cache>/agent-<sha256>`, it runs as `python3 -I -S <that>`."""
    with _building:  # all hosts' threads ask at the same time, and it must be built only once
        return _built()


@lru_cache(maxsize=1)
def _built() -> tuple[bytes, str]:
    return build_zipapp()


def build_zipapp() -> tuple[bytes, str]:
    """The same, made anew."""
    files = {"__main__.py": STUB}
    for path in AGENT_SOURCE.rglob("*.py"):
        files[f"{PACKAGE}/{path.relative_to(AGENT_SOURCE).as_posix()}"] = path.read_bytes()
    buffer = io.BytesIO()
    # Not compressed: every run makes it, to know its name, and a board gets it once.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name])
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()
