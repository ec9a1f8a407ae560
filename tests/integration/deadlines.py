"""Bodies of tests that must end in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail when the body takes longer; generous, as what has no deadline here takes minutes."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
