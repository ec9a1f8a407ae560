"""Build keys: the name of a build by all that its result depends on. Equal inputs, equal key; built once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tvmops.stack.artifact import KEY_LENGTH
from tvmops.stack.spec import Target

FORMAT = 2  # of build results; a change in how they are built or packed makes new ones


@dataclass(frozen=True)
class BuildInputs:
    """All that the result of a build depends on.

    `source` is {"identity", "commit", "submodules"}, `config` the rendered config.cmake, `toolchain` what a toolchain's
    identity() says, `machine` and `libraries` the ABI floor: what it is built for ("armv7l-hard") and the newest
    versions of the C and C++ libraries that it is linked with. `recipe` is what else the builder is told: CMake
    arguments, targets, what is installed.
    """

    stack: str
    source: Mapping[str, Any]
    config: str
    toolchain: Mapping[str, Any]
    machine: str
    target: Target
    build_type: str
    libraries: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        """16 hex digits; the same on every controller, today and next year."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
