"""Does a stack fit a board, and what does provisioning need to know to put it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvmops.errors import StackError
from tvmops.stack.bundle import ensure_bundle
from tvmops.stack.environment import OnProgress, quiet
from tvmops.stack.spec import Stack, version_tuple

SYSTEM_PYTHON = "/usr/bin/python3"


def check_board(stack: Stack, facts: Mapping[str, Any]) -> list[str]:
    """Why `stack` cannot run on the board with these facts: sentences for a person; empty when it can."""
    reasons = []
    arch = board_architecture(facts)
    if arch not in stack.architectures:
        reasons.append(
            f"its programs are built for {arch or 'an unknown machine'}; "
            f"stack {stack.name} has runtimes for {', '.join(stack.architectures)}"
        )
    glibc = facts.get("tvmops_glibc")
    if not glibc:
        reasons.append("its C library is not glibc, or of unknown version")
    elif version_tuple(str(glibc)) < version_tuple(stack.glibc):
        reasons.append(f"its glibc is {glibc}; stack {stack.name} needs {stack.glibc} or newer")
    if board_python(stack, facts) is None:
        pythons = _pythons(facts)
        have = ", ".join(sorted(set(pythons.values()), key=version_tuple)) if pythons else "none"
        reasons.append(
            f"it has no Python from {stack.python_min} up to, not including, {stack.python_below} (found: {have})"
        )
    return reasons


def board_architecture(facts: Mapping[str, Any]) -> str:
    """What the board's programs are built for: a 64-bit kernel may carry a 32-bit system."""
    return str(facts.get("ansible_userspace_architecture") or facts.get("ansible_architecture") or "")


def board_python(stack: Stack, facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """(path, "3.11") of the board's Python that runs the stack: the one that gave the facts, else the newest."""
    fitting = {path: version for path, version in _pythons(facts).items() if stack.supports_python(version)}
    if not fitting:
        return None
    own = facts.get("ansible_python")
    best = str(own.get("executable")) if isinstance(own, Mapping) else SYSTEM_PYTHON
    if best not in fitting:
        best = SYSTEM_PYTHON
    if best not in fitting:
        best = max(sorted(fitting), key=lambda path: version_tuple(fitting[path]))
    major, minor = version_tuple(fitting[best])[:2]
    return best, f"{major}.{minor}"


def _pythons(facts: Mapping[str, Any]) -> dict[str, str]:
    found = facts.get("tvmops_pythons")
    pythons = {str(path): str(version) for path, version in found.items()} if isinstance(found, Mapping) else {}
    own = facts.get("ansible_python")
    version = facts.get("ansible_python_version")
    if version:
        path = own.get("executable") if isinstance(own, Mapping) else None
        pythons[str(path or SYSTEM_PYTHON)] = str(version)
    return pythons


def release_variables(
    stack: Stack, facts: Mapping[str, Any], on_progress: OnProgress = quiet, baseline: bool = True
) -> dict[str, str]:
    """The variables that playbooks/provision.yml wants for the board with these facts; makes bundles as needed.

    Raises StackError, with every reason, when the stack does not fit the board.
    """
    reasons = check_board(stack, facts)
    chosen = board_python(stack, facts)
    if reasons or chosen is None:
        name = facts.get("ansible_hostname") or "the board"
        raise StackError(
            f"stack {stack.name} does not fit {name}: {'; '.join(reasons)}",
            "name another stack in the host variable tvm_stack, or update the board's system",
        )
    path, python = chosen
    arch = board_architecture(facts)
    return bundle_variables(stack, arch, python, python_path=path, on_progress=on_progress, baseline=baseline)


def bundle_variables(
    stack: Stack,
    arch: str,
    python: str,
    *,
    python_path: str = SYSTEM_PYTHON,
    on_progress: OnProgress = quiet,
    baseline: bool = True,
) -> dict[str, str]:
    """As release_variables, for an architecture and Python ("3.11") that are known already."""
    runtime = ensure_bundle(stack, arch, python, on_progress)
    variables = {
        "tvmops_release_stack": stack.name,
        "tvmops_release_key": runtime.key,
        "tvmops_release_archive": str(runtime.path),
        "tvmops_release_size": str(runtime.unpacked_size),
        "tvmops_python": python_path,
    }
    if baseline and stack.baseline:
        reference = ensure_bundle(stack, arch, python, on_progress, part="baseline")
        variables["tvmops_baseline_key"] = reference.key
        variables["tvmops_baseline_archive"] = str(reference.path)
    return variables
