"""Which boards share an ABI, and why an artifact is refused before it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tvmops.stack.abi import Abi, abi_of, foreseeable, mismatches
from tvmops.stack.cpu_features import features_used

NANO: dict[str, Any] = {  # JetPack 4.6
    "ansible_architecture": "aarch64",
    "ansible_userspace_architecture": "aarch64",
    "tvmops_glibc": "2.27",
    "tvmops_float_abi": None,
    "tvmops_libstdcxx": {"path": "/usr/lib/aarch64-linux-gnu/libstdc++.so.6", "glibcxx": "3.4.25", "cxxabi": "1.3.11"},
    "tvmops_cpu": {
        "model": "Cortex-A57",
        "features": ["fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32"],
    },
}
PI: dict[str, Any] = {  # Raspberry Pi OS 12, 32 bit, on a 64-bit kernel
    "ansible_architecture": "aarch64",
    "ansible_userspace_architecture": "armv7l",
    "tvmops_glibc": "2.36",
    "tvmops_float_abi": "hard",
    "tvmops_libstdcxx": {"path": "/x", "glibcxx": "3.4.30", "cxxabi": "1.3.13"},
    "tvmops_cpu": {"model": "Cortex-A53", "features": ["fp", "asimd", "evtstrm", "crc32", "cpuid"]},
}
NEEDS = {"GLIBC": "2.34", "GLIBCXX": "3.4.30", "CXXABI": "1.3.11"}
BY = {
    "GLIBC": {"file": "lib/libtvm_runtime.so", "symbol": "pthread_create"},
    "GLIBCXX": {"file": "bin/tvm_rpc", "symbol": ""},
}


def manifest(**changes: Any) -> dict[str, Any]:
    return {"arch": "aarch64", "float_abi": "", "needs": NEEDS, "needed_by": BY, "cpu": [], **changes}


def test_abi_of_a_board() -> None:
    assert abi_of(PI) == Abi("armv7l", "hard", "2.36", "3.4.30", "1.3.13")
    assert str(abi_of(PI)) == "armv7l-hard, glibc 2.36, GLIBCXX 3.4.30"
    assert str(abi_of({**NANO, "tvmops_libstdcxx": None})) == "aarch64, glibc 2.27, no libstdc++"


def test_a_fitting_artifact() -> None:
    assert mismatches(manifest(arch="armv7l", float_abi="hard", cpu=["vfpv3d16"]), PI) == []
    assert mismatches({"arch": "aarch64", "glibc": "2.27", "packages": []}, NANO) == []  # made from wheels


def test_symbol_versions_are_named_with_file_and_symbol() -> None:
    assert mismatches(manifest(), NANO) == [
        "libtvm_runtime.so needs GLIBC_2.34 (pthread_create); the board has 2.27",
        "tvm_rpc needs GLIBCXX_3.4.30; the board has 3.4.25",
    ]


def test_versions_are_numbers() -> None:
    assert mismatches(manifest(needs={"GLIBC": "2.9", "GLIBCXX": "3.4.9"}), NANO) == []


def test_a_board_without_libstdcxx() -> None:
    reasons = mismatches(manifest(needs={"GLIBCXX": "3.4.9"}), {**NANO, "tvmops_libstdcxx": None})
    assert reasons == ["tvm_rpc needs GLIBCXX_3.4.9; the board has no GLIBCXX that could be read"]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_another_machine_is_the_only_reason_then(arch: str) -> None:
    assert mismatches(manifest(arch=arch), PI) == [f"it is built for {arch}; the board runs programs for armv7l"]


def test_one_machine_under_two_names() -> None:
    assert mismatches(manifest(arch="armv8l", float_abi="hard", needs={}), PI) == []


def test_float_abi() -> None:
    reasons = mismatches(manifest(arch="armv7l", float_abi="soft", needs={}), PI)
    assert reasons == ["it is built for the soft-float ABI; the board's system is hard-float"]


def test_processor_features() -> None:
    used = sorted(features_used(["-O2", "-mcpu=cortex-a76", "-pthread"]))
    assert mismatches(manifest(needs={}, cpu=used), NANO) == [
        "it uses processor features that Cortex-A57 does not have: asimddp, asimdhp, asimdrdm, atomics, fphp"
    ]


def test_features_that_newer_ones_include_are_there() -> None:
    # A 64-bit kernel lists asimd to 32-bit programs, too; that includes NEON and VFPv4.
    assert mismatches(manifest(arch="armv7l", float_abi="hard", needs={}, cpu=["neon", "vfpv3d16", "vfpv4"]), PI) == []


def test_features_of_another_machine_say_nothing() -> None:
    emulated = {**PI, "tvmops_cpu": {"model": "x", "features": ["fpu", "sse2", "avx2"]}}
    assert mismatches(manifest(arch="armv7l", float_abi="hard", needs={}, cpu=["neon"]), emulated) == []


@pytest.mark.parametrize(
    ("flags", "used"),
    [
        ([], set()),
        (["-march=native"], {"native"}),
        (["-mavx2", "-mfma"], {"avx2", "fma"}),
        (["-mfpu=neon-vfpv4", "-mfloat-abi=hard"], {"neon", "vfpv4"}),
        (["-march=armv8-a+crc+crypto"], {"crc32", "aes"}),
        (["-mcpu=cortex-a53"], set()),
    ],
)
def test_features_that_flags_use(flags: list[str], used: set[str]) -> None:
    assert features_used(flags) == used


def test_levels_of_x86_include_those_below() -> None:
    assert features_used(["-march=x86-64-v2"]) < features_used(["-march=x86-64-v3"]) < features_used(["-march=znver4"])


def test_what_is_sure_before_it_is_built() -> None:
    assert foreseeable("2.36", NANO) == [
        "what is linked with glibc 2.36 needs GLIBC_2.34 (pthread_create); the board has glibc 2.27"
    ]
    assert foreseeable("2.31", NANO) == []  # may need no symbol that is so new
    assert foreseeable("2.36", {**NANO, "tvmops_glibc": "2.35"}) == []
