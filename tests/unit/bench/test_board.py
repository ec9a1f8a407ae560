"""A board of a sweep that is closed while one of its threads asks it something: it is told so, at any moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tvmops.bench.board import HostBoard, NoRpc
from tvmops.errors import HostUnreachable, TvmopsError
from tvmops.inventory import Host


def board() -> HostBoard:
    return HostBoard(Host("here", {"ansible_connection": "local"}), NoRpc())


def test_closing_frees_who_waits_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path))
    faults: list[BaseException] = []

    def ask(one: HostBoard) -> None:
        try:
            while True:
                one.conditions()
        except TvmopsError:
            pass
        except BaseException as fault:
            faults.append(fault)

    for number in range(60):
        one = board()
        thread = threading.Thread(target=ask, args=(one,), daemon=True)
        thread.start()
        time.sleep(number * 0.004)
        one.close()
        thread.join(20)
        assert not thread.is_alive(), f"still waits after {number * 4} ms"
        assert faults == []


def test_a_closed_board_stays_closed() -> None:
    one = board()
    assert one.conditions()
    one.close()
    with pytest.raises(HostUnreachable, match="here: "):
        one.conditions()
