"""Builds of a plan: whose turn it is in a work folder, and what is said when a result cannot be used."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tvmops.errors import StackError
from tvmops.fleet import building
from tvmops.fleet.building_plan import HERE, Build, BuildPlan
from tvmops.inventory.model import Inventory
from tvmops.stack import load_stack
from tvmops.stack.store import Store


def a_build(key: str, folder: Path, where: str = HERE) -> Build:
    order: Any = SimpleNamespace(key=key, stack=load_stack("relay-0.19"), target="runtime", machine="aarch64")
    return Build(order, "cross", where, str(folder), [])


@pytest.mark.parametrize(("folders", "together"), [(("one", "one"), 1), (("one", "two"), 2)])
def test_builds_of_other_keys_take_turns_in_a_folder(
    folders: tuple[str, str], together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    met: list[int] = []
    both, meet = threading.Barrier(2), threading.Barrier(2)

    def batch(_self: Any, _builds: Any) -> None:
        ran.append(1)
        # Where they must not meet, the first one's wait breaks the barrier for the second one, too.
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait(30 if together == 2 else 0.5)
            met.append(1)

    monkeypatch.setattr(building._Building, "_batch", batch)

    def no_view() -> Any:
        return None

    def run(number: int) -> None:
        plan = BuildPlan([], [a_build(f"{number:016x}", tmp_path / folders[number])])
        both.wait(10)
        building.build_all(plan, Inventory([]), Store(str(tmp_path / "store")), lambda _: None, no_view)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(ran), len(met)) == (2, 2 if together == 2 else 0)


def test_what_a_result_lacks_is_looked_up(tmp_path: Path) -> None:
    wrong = StackError("what was built is not what was asked for: USE_OPENCL is OFF, asked for was ON")
    said = building._explained(wrong, a_build("0" * 16, tmp_path))
    assert said.splitlines()[0] == wrong.message
    assert "\n  B16: The option has another name in this release" in said
    full = OSError(28, "No space left on device", "/cache/packed/x.new")
    said = building._explained(full, a_build("0" * 16, tmp_path))
    assert said.startswith(
        "relay-0.19 runtime for aarch64 was built, but cannot be packed: /cache/packed/x.new: No space"
    )
