"""What a compiled program or library says of itself: machine, float ABI, libraries and symbol versions it needs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from tvmops.errors import StackError
from tvmops.stack.spec import version_tuple

MAGIC = b"\x7fELF"
# e_machine and class -> the name that `uname -m` has for it.
ARCHITECTURES = {
    ("EM_X86_64", 64): "x86_64",
    ("EM_386", 32): "i386",
    ("EM_AARCH64", 64): "aarch64",
    ("EM_ARM", 32): "armv7l",
    ("EM_RISCV", 64): "riscv64",
}
FAMILIES = ("GLIBC", "GLIBCXX", "CXXABI")
_VERSION = re.compile(rf"({'|'.join(FAMILIES)})_(\d+(?:\.\d+)+)$")
# glibc's names of versions that stand for a feature of its loader, and the release that has it.
LOADER_FEATURES = {"GLIBC_ABI_DT_RELR": "2.36"}
ARM_FLOAT_HARD = 0x400  # of e_flags
# What pyelftools raises for damaged files: a section of the wrong kind has none of the methods asked for.
FAULTS = (ELFError, ConstructError, KeyError, ValueError, IndexError, AssertionError, AttributeError, TypeError)
# Tag_FP_arch -> the word of /proc/cpuinfo. A VFPv3-D16 program runs where either form of VFPv3 is.
ARM_FLOAT_UNITS = {2: "vfp", 3: "vfpv3", 4: "vfpv3d16", 5: "vfpv4", 6: "vfpv4"}


@dataclass(frozen=True)
class Needed:
    """The newest version of one family that a file asks for: "2.34", a symbol that asks for it, and whose it is."""

    version: str
    symbol: str
    library: str


@dataclass(frozen=True)
class Elf:
    """One ELF file. `arch` as `uname -m` prints it; `float_abi` "hard" or "soft" on 32-bit Arm, else ""."""

    arch: str
    bits: int
    float_abi: str
    libraries: tuple[str, ...]
    needs: Mapping[str, Needed] = field(default_factory=dict)
    cpu: tuple[str, ...] = ()


def is_elf(data: bytes) -> bool:
    """Whether these are the bytes of an ELF file."""
    return data.startswith(MAGIC)


def read_elf(data: bytes, name: str = "the file") -> Elf:
    """What the ELF file with these bytes says of itself. Raises StackError when it is none, or damaged."""
    try:
        file = ELFFile(io.BytesIO(data))
        arch = ARCHITECTURES.get((file["e_machine"], file.elfclass), str(file["e_machine"]))
        attributes = dict(_arm_attributes(file)) if arch == "armv7l" else {}
        return Elf(
            arch=arch,
            bits=file.elfclass,
            float_abi=_float_abi(file, attributes) if arch == "armv7l" else "",
            libraries=tuple(_libraries(file)),
            needs=_needs(file),
            cpu=tuple(_cpu(attributes)),
        )
    except FAULTS as error:
        raise StackError(f"{name} is no ELF file, or is damaged: {error}", "build or fetch it again") from error


def newest_needs(files: Mapping[str, Elf]) -> dict[str, tuple[Needed, str]]:
    """Of several files by name: for each family the newest version needed, and the file that needs it."""
    found: dict[str, tuple[Needed, str]] = {}
    for name, elf in sorted(files.items()):
        for family, needed in elf.needs.items():
            if family not in found or version_tuple(needed.version) > version_tuple(found[family][0].version):
                found[family] = needed, name
    return found


def defined_symbols(data: bytes) -> frozenset[str]:
    """The names that a library offers to others. Raises StackError when it is no ELF file."""
    try:
        table: Any = ELFFile(io.BytesIO(data)).get_section_by_name(".dynsym")
        if table is None:
            return frozenset()
        return frozenset(symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] != "SHN_UNDEF")
    except FAULTS as error:
        raise StackError(f"this is no ELF file, or it is damaged: {error}") from error


def _libraries(file: Any) -> Iterator[str]:
    dynamic = file.get_section_by_name(".dynamic")
    for tag in dynamic.iter_tags() if dynamic is not None else ():
        if tag.entry.d_tag == "DT_NEEDED":
            yield tag.needed


def _needs(file: Any) -> dict[str, Needed]:
    section = file.get_section_by_name(".gnu.version_r")
    if section is None:
        return {}
    symbols = _symbols_by_version(file)
    needs: dict[str, Needed] = {}
    for library, versions in section.iter_versions():
        for version in versions:
            match = _VERSION.match(version.name)
            family, number = match.groups() if match else ("GLIBC", LOADER_FEATURES.get(version.name, ""))
            if not number:
                continue
            if family not in needs or version_tuple(number) > version_tuple(needs[family].version):
                # Without a symbol of it, the version itself is what is asked for.
                symbol = symbols.get(version["vna_other"], version.name)
                needs[family] = Needed(number, symbol, library.name)
    return needs


def _symbols_by_version(file: Any) -> dict[int, str]:
    """The first undefined symbol, by the alphabet, of each version index."""
    indices, symbols = file.get_section_by_name(".gnu.version"), file.get_section_by_name(".dynsym")
    if indices is None or symbols is None:
        return {}
    found: dict[int, str] = {}
    for place, symbol in enumerate(symbols.iter_symbols()):
        index = indices.get_symbol(place)["ndx"]
        if symbol["st_shndx"] != "SHN_UNDEF" or not isinstance(index, int):
            continue
        index &= 0x7FFF
        if symbol.name and (index not in found or symbol.name < found[index]):
            found[index] = symbol.name
    return found


def _arm_attributes(file: Any) -> Iterator[tuple[str, int]]:
    section = file.get_section_by_name(".ARM.attributes")
    for part in section.iter_subsections() if section is not None else ():
        for piece in part.iter_subsubsections():
            for attribute in piece.iter_attributes():
                if isinstance(attribute.value, int):
                    yield attribute.tag, attribute.value


def _float_abi(file: Any, attributes: Mapping[str, int]) -> str:
    hard = attributes.get("TAG_ABI_VFP_ARGS", 0) == 1 or bool(file["e_flags"] & ARM_FLOAT_HARD)
    return "hard" if hard else "soft"


def _cpu(attributes: Mapping[str, int]) -> Iterator[str]:
    unit = ARM_FLOAT_UNITS.get(attributes.get("TAG_FP_ARCH", 0))
    if unit:
        yield unit
    if attributes.get("TAG_ADVANCED_SIMD_ARCH", 0):
        yield "neon"
