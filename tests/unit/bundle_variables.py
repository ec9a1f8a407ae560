"""What hosts get from a bundle file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvmops.bundle.apply import bundle_variables
from tvmops.bundle.archive import unpack_bundle


def variables_of(bundle: Path, hosts: list[str]) -> dict[str, dict[str, Any]]:
    """The variables of each host."""
    return bundle_variables(str(bundle), *unpack_bundle(bundle), hosts)
