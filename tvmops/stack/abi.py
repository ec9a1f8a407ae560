"""ABIs: what a program built elsewhere must fit on a board, and why an artifact does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.stack.cpu_features import features_of
from tvmops.stack.spec import version_tuple

# Names of `uname -m` for the same programs.
SYNONYMS = {"armv8l": "armv7l", "armhf": "armv7l", "arm64": "aarch64", "amd64": "x86_64", "i686": "i386"}
# From 2.34 on libc.so has what was in libpthread and libdl, under new versions: whatever is linked there needs it.
MERGED_GLIBC = "2.34"


@dataclass(frozen=True, order=True)
class Abi:
    """Machine, float ABI ("hard", "soft" or ""), and the newest versions that the C and C++ libraries offer, or ""."""

    arch: str
    float_abi: str = ""
    glibc: str = ""
    glibcxx: str = ""
    cxxabi: str = ""

    @property
    def machine(self) -> str:
        """Machine and float ABI, without the libraries: "armv7l-hard", "aarch64"."""
        return f"{self.arch}-{self.float_abi}" if self.float_abi else self.arch

    def __str__(self) -> str:
        libraries = [f"glibc {self.glibc}" if self.glibc else "no glibc"]
        libraries.append(f"GLIBCXX {self.glibcxx}" if self.glibcxx else "no libstdc++")
        return f"{self.machine}, {', '.join(libraries)}"


def architecture(name: str) -> str:
    """One name for the machines that run the same programs."""
    return SYNONYMS.get(name, name)


def abi_of(facts: Mapping[str, Any]) -> Abi:
    """The ABI of the board with these facts."""
    machine = facts.get("ansible_userspace_architecture") or facts.get("ansible_architecture") or ""
    library = facts.get("tvmops_libstdcxx")
    library = library if isinstance(library, Mapping) else {}
    return Abi(
        arch=architecture(str(machine)),
        float_abi=str(facts.get("tvmops_float_abi") or ""),
        glibc=str(facts.get("tvmops_glibc") or ""),
        glibcxx=str(library.get("glibcxx") or ""),
        cxxabi=str(library.get("cxxabi") or ""),
    )


def glibc_in(sysroot: Path) -> str:
    """The version of the C library in a system root, "" when there is none that says it."""
    patterns = ("lib*/libc.so.6", "lib/*/libc.so.6", "usr/lib*/libc.so.6", "usr/lib/*/libc.so.6")
    for path in [path for pattern in patterns for path in sorted(sysroot.glob(pattern))]:
        try:
            match = re.search(rb"GNU C Library [^\n]*version (\d+\.\d+)", path.read_bytes())
        except OSError:
            continue  # a link that leads nowhere in a copied system
        if match:
            return match[1].decode()
    return ""


def mismatches(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Why an artifact with this manifest cannot run on the board with these facts: sentences; empty when it can."""
    board = abi_of(facts)
    arch = architecture(str(manifest["arch"]))
    if arch != board.arch:
        return [f"it is built for {arch}; the board runs programs for {board.arch or 'an unknown machine'}"]
    reasons = []
    float_abi = str(manifest.get("float_abi") or "")
    if float_abi and board.float_abi and float_abi != board.float_abi:
        reasons.append(f"it is built for the {float_abi}-float ABI; the board's system is {board.float_abi}-float")
    reasons += _libraries(manifest, board)
    reasons += _processor(manifest, facts, arch)
    return reasons


def foreseeable(linked_with: str, facts: Mapping[str, Any]) -> list[str]:
    """Why what is linked with glibc `linked_with` ("2.36") surely cannot run on the board: known before it is built.

    Whether it can is known only from what was built: a newer C library need not be needed in its newest version.
    """
    glibc = abi_of(facts).glibc
    merged = version_tuple(MERGED_GLIBC)
    if linked_with and glibc and version_tuple(linked_with) >= merged > version_tuple(glibc):
        return [
            f"what is linked with glibc {linked_with} needs GLIBC_{MERGED_GLIBC} (pthread_create); "
            f"the board has glibc {glibc}"
        ]
    return []


def _libraries(manifest: Mapping[str, Any], board: Abi) -> list[str]:
    needs: Mapping[str, Any] = manifest.get("needs") or {"GLIBC": manifest.get("glibc", "")}
    by: Mapping[str, Any] = manifest.get("needed_by") or {}
    has = {"GLIBC": board.glibc, "GLIBCXX": board.glibcxx, "CXXABI": board.cxxabi}
    reasons = []
    for family, version in needs.items():
        offered = has.get(family, "")
        if not version or version_tuple(offered) >= version_tuple(str(version)):
            continue
        who = by.get(family) or {}
        symbol = f" ({who['symbol']})" if who.get("symbol") else ""
        place = f"the board has {offered}" if offered else f"the board has no {family} that could be read"
        reasons.append(f"{str(who.get('file') or 'it').rpartition('/')[2]} needs {family}_{version}{symbol}; {place}")
    return reasons


def _processor(manifest: Mapping[str, Any], facts: Mapping[str, Any], arch: str) -> list[str]:
    used = {str(one) for one in manifest.get("cpu") or ()}
    has = features_of(facts, arch)
    missing = sorted(used - has) if has is not None else []
    if not missing:
        return []
    model = (facts.get("tvmops_cpu") or {}).get("model") or "the board's processor"
    return [f"it uses processor features that {model} does not have: {', '.join(missing)}"]
