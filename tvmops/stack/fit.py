"""Which stacks a board can hold, which it can build itself, why not, and what would help; judged by its facts alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tvmops.paths import project_root
from tvmops.source import load_yaml
from tvmops.stack.board import Finding, findings, pythons_found
from tvmops.stack.spec import Stack, Target, version_tuple
from tvmops.stack.versions import Release, release

TARGETS: tuple[Target, ...] = ("runtime", "full")
COMPILE_MB = 1500  # memory of one compile job
LINK_MB = 4000  # memory to link the compiler with LLVM
BUILD_DISK_MB: dict[Target, int] = {"runtime": 1000, "full": 5000}  # sources, objects and result
RELEASE_DISK_MB = {"built": 30, "wheels": 250}  # the archive and what it holds, side by side
NAMES_OF_DEBIAN = ("Debian", "Raspbian")


@dataclass(frozen=True)
class Fit:
    """What a board's facts say about one stack. `against_building` is by target, for building on the board itself.

    `cross` is what to mind when its runtime is built elsewhere, "" for nothing.
    """

    stack: Stack
    reasons: list[Finding]
    against_building: dict[Target, list[Finding]] = field(default_factory=dict)
    cross: str = ""

    @property
    def fits(self) -> bool:
        """Whether the board can hold a release of the stack."""
        return not self.reasons


def reasons_against(stack: Stack, facts: Mapping[str, Any]) -> list[str]:
    """Why the board with these facts cannot hold a release of `stack`: sentences; empty when it can."""
    return [finding.text for finding in judge(stack, facts).reasons]


def judge(stack: Stack, facts: Mapping[str, Any]) -> Fit:
    """All that the facts of a board say about `stack`."""
    reasons = findings(stack, facts)
    reasons += _disk(facts, "/opt", RELEASE_DISK_MB["built" if stack.is_built else "wheels"], "a release")
    if not stack.is_built:
        return Fit(stack, reasons)
    building = {target: against_building(stack, facts, target) for target in TARGETS}
    return Fit(stack, reasons, building, _cross_note(facts))


def against_building(stack: Stack, facts: Mapping[str, Any], target: Target) -> list[Finding]:
    """What keeps the board from building `target` itself with what its distribution offers."""
    needs = release(stack.tag)
    found = _compiler(needs, facts, target)
    found += [*_llvm(needs, facts), *_python(needs, facts)] if target == "full" else []
    found += _memory(facts, target)
    return found + _disk(facts, "/home", BUILD_DISK_MB[target], "building")


def _compiler(needs: Release, facts: Mapping[str, Any], target: Target) -> list[Finding]:
    tools = _tools(facts)
    if tools is None:
        return [Finding(f"which compiler and CMake {_system(facts)} offers is not known", "try: --builder native")]
    found = []
    if version_tuple(tools["gcc"]) < version_tuple(needs.gcc_min):
        text = f"gcc {tools['gcc']} is older than {needs.gcc_min}, which C++{needs.cxx_standard} needs"
        found.append(Finding(text, "gcc from source into a prefix: playbooks/toolchain.yml"))
    wanted = needs.cmake_for(target)
    if version_tuple(tools["cmake"]) < version_tuple(wanted):
        declared = f" ({needs.tag} declares {needs.cmake_declared})" if needs.cmake_declared != wanted else ""
        text = f"CMake {tools['cmake']} is older than {wanted}{declared}"
        found.append(Finding(text, "a CMake wheel in a prefix: playbooks/toolchain.yml"))
    return found


def _llvm(needs: Release, facts: Mapping[str, Any]) -> list[Finding]:
    tools = _tools(facts)
    if tools is None:
        return []
    problems = {version: needs.llvm_problem(version) for version in tools["llvm"]}
    if not all(problems.values()):
        return []
    offered = ", ".join(tools["llvm"])
    return [
        Finding(
            f"of LLVM {offered}, which {_system(facts)} offers, none is from {needs.llvm_min} to {needs.llvm_max}",
            "LLVM as a prebuilt archive or from source: playbooks/toolchain.yml",
        )
    ]


def _python(needs: Release, facts: Mapping[str, Any]) -> list[Finding]:
    found = sorted(set(pythons_found(facts).values()), key=version_tuple)
    if not found or any(needs.supports_python(version) for version in found):
        return []
    wanted = f"{needs.python_min} or newer" + (f", below {needs.python_below}" if needs.python_below else "")
    text = f"the compiler's Python part needs Python {wanted} (found: {', '.join(found)})"
    return [Finding(text, "a newer Python beside the system's: playbooks/toolchain.yml")]


def _memory(facts: Mapping[str, Any], target: Target) -> list[Finding]:
    memory, swap = facts.get("ansible_memtotal_mb"), facts.get("ansible_swaptotal_mb") or 0
    wanted = LINK_MB if target == "full" else COMPILE_MB
    if not isinstance(memory, int) or memory + int(swap) >= wanted:
        return []
    what = "linking the compiler" if target == "full" else "one compile job"
    text = f"{memory + int(swap)} MB of memory and swap; {what} takes {wanted} MB"
    return [Finding(text, "a temporary swap file, which the build makes and removes")]


def _disk(facts: Mapping[str, Any], folder: str, needed_mb: int, purpose: str) -> list[Finding]:
    """`folder` must be on a file system with room; the facts name mount points with their free bytes."""
    best, free = "", None
    for mount in facts.get("ansible_mounts") or []:
        point, available = str(mount.get("mount", "")), mount.get("size_available")
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and isinstance(available, int) and len(point) > len(best):
            best, free = point, available
    if free is None or free >= needed_mb * 1_000_000:
        return []
    return [Finding(f"{free // 1_000_000} MB are free on {best}; {purpose} takes {needed_mb} MB", "make room there")]


def _cross_note(facts: Mapping[str, Any]) -> str:
    """What is built here with this machine's C library may need more than the board's has."""
    here = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    own, board = (here or "").rpartition(" ")[2], str(facts.get("tvmops_glibc") or "")
    if not own or not board or version_tuple(board) >= version_tuple(own):
        return ""
    return (
        f"its glibc {board} is older than the {own} of this machine's compilers: give the builder 'cross' a sysroot of "
        "its system, or build on a machine of its kind"
    )


def _tools(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    name = str(facts.get("ansible_distribution") or "")
    version = str(facts.get("ansible_distribution_version") or "")
    if name in NAMES_OF_DEBIAN:
        name, version = "Debian", version.partition(".")[0]
    row = _distributions().get(name, {}).get(".".join(version.split(".")[:2]))
    return dict(row) if row else None


def _system(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts.get('ansible_distribution') or 'its system'} {facts.get('ansible_distribution_version') or ''}".strip()
    )


@functools.lru_cache(maxsize=1)
def _distributions() -> dict[str, Any]:
    return dict(load_yaml(project_root() / "stacks" / "distributions.yml"))
