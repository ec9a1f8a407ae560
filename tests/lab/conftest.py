"""Virtual boards for tests: one lab per test session, its boards given back healthy."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tvmops.lab import Board, Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Two systemd boards, b1 and b2, and the package cache. Boards are shared: leave them as they were."""
    lab = Lab(f"t{os.getpid()}")
    try:
        lab.up(2)
        yield lab
    finally:
        lab.down(purge=True)


@pytest.fixture
def board(lab: Lab) -> Iterator[Board]:
    """Board b1, without faults before and after."""
    yield _healthy(lab, "b1")
    _healthy(lab, "b1")


@pytest.fixture
def disk_board(lab: Lab) -> Iterator[Board]:
    """Board d1, which has a disk of its own, without faults before and after."""
    lab.up(["d1"], disk="512M")
    yield _healthy(lab, "d1")
    _healthy(lab, "d1")


@pytest.fixture
def other_lab() -> Iterator[Lab]:
    """A second lab without boards, gone after the test."""
    lab = Lab(f"u{os.getpid()}")
    yield lab
    lab.down(purge=True)
    assert lab.leftovers() == []


def _healthy(lab: Lab, name: str) -> Board:
    board = next(board for board in lab.boards() if board.name == name)
    if board.faults or board.state != "running":
        lab.fault(name, "clear")
    return board
