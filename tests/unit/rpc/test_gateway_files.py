"""Gateways known from outside: alive while they hold their lock, forgotten when they are dead."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tvmops.errors import RpcError
from tvmops.rpc import gateway_files as files


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path))


def state(name: str) -> files.GatewayState:
    return files.GatewayState(name, os.getpid(), "now", "127.0.0.1", 9190, {"host": "", "problem": ""}, {"b1": {}})


def test_only_one_has_a_name() -> None:
    assert files.gateways() == []
    held = files.hold("boards")
    assert held is not None
    assert files.hold("boards") is None
    assert files.gateway("boards") is None  # it has not said anything yet
    files.write_state(state("boards"))
    assert files.gateway("boards") == state("boards")
    assert files.gateways() == [state("boards")]
    held.close()
    assert not files.alive("boards")
    assert files.gateway("boards") is None


def test_what_a_dead_one_left_is_removed() -> None:
    with files.hold("one") as held:  # type: ignore[union-attr]
        files.write_state(state("one"))
        assert not held.closed
    assert (files.folder() / "one.json").exists()
    assert files.gateways() == []
    assert not (files.folder() / "one.json").exists()
    files.write_state(state("one"))
    with files.hold("one"):  # type: ignore[union-attr]
        assert not (files.folder() / "one.json").exists()


@pytest.mark.parametrize("text", ["{", json.dumps({"schema": 99})])
def test_a_description_that_cannot_be_read_is_named(text: str) -> None:
    with files.hold("one"):  # type: ignore[union-attr]
        (files.folder() / "one.json").write_text(text)
        with pytest.raises(RpcError, match=r"one\.json: "):
            files.gateway("one")


def test_another_process_is_no_gateway() -> None:
    assert not files.is_gateway(os.getpid())
    assert not files.is_gateway(2**22 + 1)
