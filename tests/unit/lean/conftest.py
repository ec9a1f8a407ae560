"""`tracker`: a tracker for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lean_trackers import Tracker
from ssh_servers import free_port


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    made = Tracker(free_port())
    yield made
    made.stop()
