"""ELF files: machine, libraries, symbol versions, Arm's attributes; files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_elf import arm_attributes, make_elf

from tvmops.errors import StackError
from tvmops.stack.elf import Elf, Needed, defined_symbols, is_elf, newest_needs, read_elf


def test_symbol_versions_with_their_symbols() -> None:
    elf = read_elf(
        make_elf(
            {
                "libc.so.6": {"memcpy": "GLIBC_2.4", "pthread_create": "GLIBC_2.34"},
                "libstdc++.so.6": {"_ZSt4cout": "GLIBCXX_3.4.30", "odd": "CXXABI_ARM_1.3.3"},
            }
        )
    )
    assert elf.needs == {
        "GLIBC": Needed("2.34", "pthread_create", "libc.so.6"),
        "GLIBCXX": Needed("3.4.30", "_ZSt4cout", "libstdc++.so.6"),
    }
    assert (elf.arch, elf.bits, elf.float_abi) == ("armv7l", 32, "hard")
    assert elf.libraries == ("libc.so.6", "libstdc++.so.6")


def test_numbers_are_compared_as_numbers() -> None:
    elf = read_elf(make_elf({"libc.so.6": {"a": "GLIBC_2.4", "b": "GLIBC_2.17", "c": "GLIBC_2.9"}}))
    assert elf.needs["GLIBC"] == Needed("2.17", "b", "libc.so.6")


def test_a_version_of_the_loader_counts_though_no_symbol_has_it() -> None:
    elf = read_elf(make_elf({"libc.so.6": {"a": "GLIBC_2.34", "": "GLIBC_ABI_DT_RELR"}}))
    assert elf.needs["GLIBC"] == Needed("2.36", "GLIBC_ABI_DT_RELR", "libc.so.6")


@pytest.mark.parametrize(("value", "hard", "expected"), [(1, False, "hard"), (0, False, "soft"), (0, True, "hard")])
def test_float_abi_by_attribute_or_flag(value: int, hard: bool, expected: str) -> None:
    data = make_elf({"libc.so.6": {"a": "GLIBC_2.4"}}, hard=hard, attributes=arm_attributes(t28=value))
    assert read_elf(data).float_abi == expected


def test_what_an_arm_library_asks_of_the_processor() -> None:
    data = make_elf({"libc.so.6": {"a": "GLIBC_2.4"}}, attributes=arm_attributes(t6=10, t10=5, t12=1, t28=1))
    assert read_elf(data).cpu == ("vfpv4", "neon")


def test_a_real_library_of_this_machine() -> None:
    data = next(Path("/lib").glob("*-linux-gnu/libm.so.6")).read_bytes()
    elf = read_elf(data)
    assert "libc.so.6" in elf.libraries and elf.needs["GLIBC"].library
    assert {"sin", "expf"} <= defined_symbols(data)
    assert "memcpy" not in defined_symbols(data)


def test_what_a_file_defines() -> None:
    assert defined_symbols(make_elf({"libc.so.6": {"memcpy": "GLIBC_2.4"}})) == {"TVMFuncCall"}


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01\x01" + b"\xff" * 60])
def test_what_is_no_elf_file_is_one_message(data: bytes) -> None:
    with pytest.raises(StackError, match=r"lib/x\.so is no ELF file, or is damaged"):
        read_elf(data, "lib/x.so")


def test_every_truncation_is_refused_or_read_without_a_traceback() -> None:
    whole = make_elf({"libc.so.6": {"a": "GLIBC_2.4"}}, attributes=arm_attributes(t6=10, t10=5, t28=1))
    refused = 0
    for length in range(len(whole)):
        try:
            read_elf(whole[:length])
        except StackError:
            refused += 1
    assert refused >= len(whole) - 1
    assert is_elf(whole) and not is_elf(b"MZ")


def test_the_newest_need_of_several_files() -> None:
    older = Elf("x86_64", 64, "", (), {"GLIBC": Needed("2.9", "a", "libc.so.6")})
    newer = Elf("x86_64", 64, "", (), {"GLIBC": Needed("2.10", "b", "libc.so.6")})
    assert newest_needs({"bin/a": older, "lib/b.so": newer}) == {"GLIBC": (newer.needs["GLIBC"], "lib/b.so")}
