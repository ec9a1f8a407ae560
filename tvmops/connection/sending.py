"""What is sent to a host: counted, and told while it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

WORTH_TELLING = 1024 * 1024  # bytes from which on a blob's way is shown
TELL_EVERY = 0.5  # seconds


@dataclass
class Sent:
    """Bytes of content that went to a host, and that it `had` already from a transfer that was cut off."""

    bytes: int = 0
    had: int = 0


class Telling:
    """Says now and then how far a blob has come."""

    def __init__(self, notify: Callable[[str], None], size: int) -> None:
        """`size` in bytes."""
        self._notify, self._size = notify, size
        self._next = time.monotonic() + TELL_EVERY if size >= WORTH_TELLING else float("inf")

    def at(self, sent: int) -> None:
        """So many bytes are on the host."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TELL_EVERY
            self._notify(f"sending: {sent / 1e6:.1f} of {self._size / 1e6:.1f} MB")
