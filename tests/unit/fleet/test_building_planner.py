"""Plans of builds: what inventory variables mean for them, and what is refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builder_probes import probe

from tvmops.errors import ConfigError, StackError
from tvmops.fleet.building_plan import HERE, Asked, Board
from tvmops.fleet.building_planner import Planner, _flags, _sysroot
from tvmops.inventory.model import Host, Inventory
from tvmops.stack import load_stack
from tvmops.stack.abi import Abi
from tvmops.stack.sources import SourceTree
from tvmops.stack.store import Store
from tvmops.stack.toolchain import Toolchain

STACK = load_stack("relay-0.19")


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    """Of full builds here, on a builder with LLVM 14 and compilers for all boards."""
    made = Planner(Inventory([]), Asked(target="full"), Store(str(tmp_path)), lambda _: None)
    made._probes[HERE] = probe()
    return made


def board(arch: str) -> Board:
    return Board(Host("b"), STACK, {}, Abi(arch))


@pytest.mark.parametrize("given", [5, {"-O2": "yes"}, True])
def test_flags_that_are_no_flags_are_refused_with_their_place(given: Any) -> None:
    host = Host("pi", {"tvm_build_flags": given}, origins={"tvm_build_flags": "hosts.yml:3:7"})
    with pytest.raises(ConfigError, match=r"hosts\.yml:3:7: tvm_build_flags"):
        _flags(Board(host, STACK, {}, Abi("armv7l")))


def test_a_sysroot_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert _sysroot({"tvm_build_sysroot": "roots/nano"}) == f"{tmp_path}/roots/nano"
    assert _sysroot({"tvm_build_sysroot": "~/nano"}) == "/home/ada/nano"
    assert _sysroot({}) is None


def test_a_compiler_with_llvm_is_not_crossed(planner: Planner) -> None:
    """The builder's LLVM is for the builder's processor: that is said in the plan, not by the linker after hours."""

    def chain(arch: str) -> Toolchain:
        return planner._toolchain(board(arch), HERE)

    planner._refuse_crossed(chain("x86_64"), HERE)
    with pytest.raises(
        StackError, match=r"compiler for aarch64 cannot be linked with the builder's LLVM, that is for x86"
    ):
        planner._refuse_crossed(chain("aarch64"), HERE)
    planner.asked = Asked()
    planner._refuse_crossed(chain("aarch64"), HERE)


def test_sources_of_the_runtime_give_no_compiler(planner: Planner, tmp_path: Path) -> None:
    planner._sources[STACK.name] = SourceTree(
        "folder", tmp_path, tmp_path / "source.tar.gz", "ab" * 32, complete=False, origin="/home/ada/tvm"
    )
    with pytest.raises(StackError, match="a full compiler cannot be built from /home/ada/tvm: it has the runtime's"):
        planner._order(board("x86_64"), HERE)
