"""Which stacks fit which boards: saved fact sets of the boards that the documentation speaks of."""

from __future__ import annotations

from typing import Any

import pytest
from playbook_texts import facts_of

from tvmops.stack import load_stack, stack_names
from tvmops.stack.fit import Fit, _distributions, judge, reasons_against
from tvmops.stack.spec import version_tuple

PYTHONS = {"jetson-nano": "3.6.9", "rpi3b": "3.11.2", "rk3288": "3.5.2", "pynq-z1": "3.6.5", "nuc": "3.11.2"}
PYTHONS["server"] = "3.10.12"


def board(name: str, **changes: Any) -> dict[str, Any]:
    """The facts of a recorded board, with the Python that such a system comes with."""
    version = PYTHONS[name]
    python = {"ansible_python_version": version, "tvmops_pythons": {"/usr/bin/python3": version}}
    return facts_of(name, **{**python, "ansible_python": {"executable": "/usr/bin/python3"}, **changes})


def fit(name: str, stack: str, **changes: Any) -> Fit:
    return judge(load_stack(stack), board(name, **changes))


def texts(name: str, stack: str, target: Any, **changes: Any) -> list[str]:
    return [finding.text for finding in fit(name, stack, **changes).against_building[target]]


@pytest.mark.parametrize(
    ("name", "fitting"),
    [
        ("jetson-nano", ["relay-0.18", "relay-0.19", "relay-0.8"]),
        ("rpi3b", ["relay-0.18", "relay-0.19", "relay-0.8"]),
        ("rk3288", ["relay-0.8"]),
        ("pynq-z1", ["relay-0.18", "relay-0.19", "relay-0.8"]),
        ("nuc", ["relax-0.27", "relay-0.18", "relay-0.19", "relay-0.8"]),
        ("server", ["relax-0.27", "relay-0.18", "relay-0.19", "relay-0.8"]),
    ],
)
def test_what_each_kind_of_board_can_hold(name: str, fitting: list[str]) -> None:
    assert [stack for stack in stack_names() if not reasons_against(load_stack(stack), board(name))] == fitting


def test_a_jetson_nano_as_it_comes() -> None:
    relax = fit("jetson-nano", "relax-0.27")
    assert [finding.text for finding in relax.reasons] == [
        "it has no Python from 3.10 up to, not including, 3.14 (found: 3.6.9)"
    ]
    assert "newer Python" in relax.reasons[0].help
    assert texts("jetson-nano", "relay-0.8", "runtime") == []
    assert texts("jetson-nano", "relay-0.8", "full") == []
    assert texts("jetson-nano", "relay-0.19", "runtime") == ["CMake 3.10.2 is older than 3.18"]
    assert texts("jetson-nano", "relay-0.19", "full") == [
        "CMake 3.10.2 is older than 3.20 (v0.19.0 declares 3.18)",
        "the compiler's Python part needs Python 3.8 or newer, below 3.15 (found: 3.6.9)",
    ]


def test_old_compilers_little_memory_and_full_disks() -> None:
    assert "gcc 5.4 is older than 7.1, which C++17 needs" in texts("rk3288", "relay-0.19", "runtime")
    assert "922 MB of memory and swap; one compile job takes 1500 MB" in texts(
        "rpi3b", "relay-0.19", "runtime", ansible_swaptotal_mb=0
    )
    mounts = [
        {"mount": "/", "size_available": 20_000_000},
        {"mount": "/home", "size_available": 900_000_000},
        {"mount": "/optical", "size_available": 1},
    ]
    full = fit("nuc", "relay-0.19", ansible_mounts=mounts)
    assert [finding.text for finding in full.reasons] == ["20 MB are free on /; a release takes 30 MB"]
    assert "900 MB are free on /home; building takes 1000 MB" in texts(
        "nuc", "relay-0.19", "runtime", ansible_mounts=mounts
    )


def test_llvm_of_the_distribution() -> None:
    changes = {"ansible_distribution": "Ubuntu", "ansible_distribution_version": "20.04"}
    assert not [text for text in texts("nuc", "relay-0.19", "full", **changes) if "LLVM" in text]
    changes = {"ansible_distribution": "Debian", "ansible_distribution_version": "13.1"}
    assert "of LLVM 17, 18, 19, which Debian 13.1 offers, none is from 4 to 14" in texts(
        "nuc", "relay-0.8", "full", **changes
    )


def test_systems_that_are_not_in_the_table() -> None:
    changes = {"ansible_distribution": "Alpine", "ansible_distribution_version": "3.20", "tvmops_glibc": None}
    alpine = fit("nuc", "relay-0.19", **changes)
    assert [finding.text for finding in alpine.reasons] == ["its C library is not glibc, or of unknown version"]
    assert alpine.against_building["runtime"][0].text == "which compiler and CMake Alpine 3.20 offers is not known"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ansible_userspace_architecture": "riscv64"}, "its programs are built for riscv64"),
        ({"tvmops_float_abi": "soft"}, "its programs pass floats in integer registers (armel)"),
        ({"tvmops_glibc": "2.19"}, "its glibc is 2.19; stack relay-0.19 needs 2.27 or newer"),
    ],
)
def test_boards_that_no_build_can_serve(changes: dict[str, Any], reason: str) -> None:
    reasons = reasons_against(load_stack("relay-0.19"), board("rpi3b", **changes))
    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


def test_a_32_bit_system_on_a_64_bit_kernel_counts_as_what_its_programs_are() -> None:
    changes = {"ansible_architecture": "aarch64", "ansible_userspace_architecture": "armv8l"}
    assert fit("rpi3b", "relay-0.19", **changes).fits
    assert not fit("rpi3b", "relax-0.27", **changes).fits


def test_building_here_for_an_older_system_needs_that_systems_libraries() -> None:
    assert "give the builder 'cross' a sysroot" in fit("nuc", "relay-0.19", tvmops_glibc="2.27").cross
    assert fit("nuc", "relay-0.19", tvmops_glibc="9.0").cross == ""
    assert fit("nuc", "relax-0.27", tvmops_glibc="2.28").cross == ""


def test_facts_that_say_nothing_are_not_held_against_a_board() -> None:
    facts = {"ansible_userspace_architecture": "x86_64", "tvmops_glibc": "2.36", "ansible_python_version": "3.11.2"}
    assert judge(load_stack("relay-0.19"), facts).fits
    assert judge(load_stack("relax-0.27"), facts).fits


def test_distributions_grow_with_their_versions() -> None:
    for name, rows in _distributions().items():
        ordered = sorted(rows, key=version_tuple)
        for tool in ("gcc", "cmake"):
            versions = [version_tuple(rows[version][tool]) for version in ordered]
            assert versions == sorted(versions), (name, tool)
        assert all(isinstance(major, str) for version in ordered for major in rows[version]["llvm"])
