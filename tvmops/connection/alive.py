"""Telling agents every few seconds that this process is there: one thread for all sessions."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Protocol

INTERVAL = 5.0  # seconds


class Speaker(Protocol):
    """A session with an agent."""

    def say_alive(self) -> None:
        """Send the message, without waiting for anyone. Never raises."""


class _Voice:
    """The thread and those it speaks for."""

    def __init__(self) -> None:
        self.speakers: weakref.WeakSet[Speaker] = weakref.WeakSet()
        self.lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._speak, name="alive", daemon=True)
            self._thread.start()

    def _speak(self) -> None:
        while True:
            time.sleep(INTERVAL)
            with self.lock:
                speakers = list(self.speakers)
            for speaker in speakers:
                speaker.say_alive()


_voice = _Voice()


def keep_telling(speaker: Speaker) -> None:
    """From now on, until stop_telling() or until nothing else refers to it."""
    with _voice.lock:
        _voice.speakers.add(speaker)
        _voice.start()


def stop_telling(speaker: Speaker) -> None:
    """Its agent is not told any longer."""
    with _voice.lock:
        _voice.speakers.discard(speaker)
