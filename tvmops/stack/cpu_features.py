"""Processor features, in /proc/cpuinfo's words: what compiler flags use, and what a board has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_V2 = ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")
_V3 = (*_V2, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
_ARM81 = ("asimdrdm", "atomics")
_ARM82 = (*_ARM81, "asimddp", "asimdhp", "fphp")
# -march= and -mcpu= names that people give boards; others are read as "the least of the architecture".
PROCESSORS: dict[str, tuple[str, ...]] = {
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": _V4,
    "nehalem": _V2,
    "westmere": _V2,
    "sandybridge": (*_V2, "avx"),
    "ivybridge": (*_V2, "avx", "f16c"),
    "haswell": _V3,
    "broadwell": _V3,
    "skylake": _V3,
    "skylake-avx512": _V4,
    "icelake-server": _V4,
    "znver1": _V3,
    "znver2": _V3,
    "znver3": _V3,
    "znver4": _V4,
    "armv8.1-a": _ARM81,
    "armv8.2-a": _ARM81,
    "cortex-a55": _ARM82,
    "cortex-a75": _ARM82,
    "cortex-a76": _ARM82,
    "cortex-a78": _ARM82,
    "neoverse-n1": _ARM82,
    "cortex-a5": ("vfpv4",),
    "cortex-a7": ("neon", "vfpv4"),
    "cortex-a8": ("neon", "vfpv3"),
    "cortex-a9": ("neon", "vfpv3"),
    "cortex-a15": ("neon", "vfpv4"),
    "cortex-a17": ("neon", "vfpv4"),
}
ADDITIONS = {"dotprod": "asimddp", "fp16": "asimdhp", "lse": "atomics", "crc": "crc32", "crypto": "aes", "sve": "sve"}
FLOAT_UNITS: dict[str, tuple[str, ...]] = {
    "vfpv3-d16": ("vfpv3d16",),
    "vfpv3": ("vfpv3",),
    "vfpv4": ("vfpv4",),
    "neon": ("neon",),
    "neon-vfpv3": ("neon",),
    "neon-vfpv4": ("neon", "vfpv4"),
    "neon-fp-armv8": ("neon", "vfpv4"),
}
SINGLE = {
    "-mavx": "avx", "-mavx2": "avx2", "-mavx512f": "avx512f", "-mfma": "fma", "-mf16c": "f16c", "-msse3": "pni",
    "-mssse3": "ssse3", "-msse4.1": "sse4_1", "-msse4.2": "sse4_2", "-mpopcnt": "popcnt", "-mbmi2": "bmi2",
}  # fmt: skip
# What a processor with a feature has as well, although older kernels or 32-bit programs do not list it.
IMPLIED: dict[str, tuple[str, ...]] = {
    "asimd": ("neon", "vfpv4"),
    "neon": ("vfpv3",),
    "vfpv4": ("vfpv3",),
    "vfpv3": ("vfpv3d16",),
    "vfpv3d16": ("vfp",),
}
# One of these is listed by every kernel of the family. Without any, the list is that of another machine: an emulated
# board's /proc/cpuinfo can be its host's.
TELLTALE = {
    "x86_64": ("fpu", "sse2"),
    "i386": ("fpu", "sse2"),
    "aarch64": ("asimd", "fp"),
    "armv7l": ("half", "thumb", "vfp", "asimd", "neon"),
    "armv6l": ("half", "thumb", "vfp"),
}


def features_used(flags: Iterable[str]) -> set[str]:
    """The features that code compiled with these flags may use; `native` stands for those of the machine itself."""
    used: set[str] = set()
    for flag in flags:
        name, _, value = flag.partition("=")
        if flag in SINGLE:
            used.add(SINGLE[flag])
        elif name in ("-march", "-mcpu"):
            used.update(_of_processor(value))
        elif name == "-mfpu":
            used.update(FLOAT_UNITS.get(value, ()))
    return used


def _of_processor(value: str) -> set[str]:
    name, *additions = value.split("+")
    if name == "native":
        return {"native"}
    return {*PROCESSORS.get(name, ()), *(ADDITIONS[one] for one in additions if one in ADDITIONS)}


def features_of(facts: Mapping[str, Any], arch: str) -> set[str] | None:
    """The features of the board with these facts, implied ones included; None when they are not known."""
    cpu = facts.get("tvmops_cpu")
    listed = {str(one) for one in cpu.get("features") or ()} if isinstance(cpu, Mapping) else set()
    if not listed.intersection(TELLTALE.get(arch, ())):
        return None
    waiting = list(listed)
    while waiting:
        for more in IMPLIED.get(waiting.pop(), ()):
            if more not in listed:
                listed.add(more)
                waiting.append(more)
    return listed
