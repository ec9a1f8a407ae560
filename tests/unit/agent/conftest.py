"""Agents for tests: `agent` is one for a test, `board` one for a whole module of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import Driver


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "tvmops"


@pytest.fixture
def agent(cache: Path) -> Iterator[Driver]:
    with Driver(cache) as driver:
        yield driver


@pytest.fixture(scope="module")
def board(cache: Path) -> Iterator[Driver]:
    with Driver(cache) as driver:
        yield driver
        assert driver.close() == 0
        assert driver.stderr == ""
