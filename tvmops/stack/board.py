"""Does a stack fit a board, and what does provisioning need to know to put it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvmops.errors import StackError
from tvmops.stack.abi import architecture
from tvmops.stack.artifact import Artifact
from tvmops.stack.environment import OnProgress, quiet
from tvmops.stack.shipping import shipment
from tvmops.stack.spec import Stack, version_tuple
from tvmops.stack.store import Store
from tvmops.stack.versions import release
from tvmops.stack.wheel_artifact import ensure_artifact

SYSTEM_PYTHON = "/usr/bin/python3"
OLDEST_PYTHON = "3.5"  # that runs the lean server, and all programs that tvmops brings to boards


@dataclass(frozen=True)
class Finding:
    """Something that is in the way, and what would help against it ("" when nothing does)."""

    text: str
    help: str = ""


def check_board(stack: Stack, facts: Mapping[str, Any]) -> list[str]:
    """Why `stack` cannot run on the board with these facts: sentences for a person; empty when it can."""
    return [finding.text for finding in findings(stack, facts)]


def findings(stack: Stack, facts: Mapping[str, Any]) -> list[Finding]:
    """As check_board, with what would help."""
    found = []
    arch = board_architecture(facts)
    if arch not in stack.architectures:
        text = f"its programs are built for {arch or 'an unknown machine'}; "
        found.append(Finding(f"{text}stack {stack.name} has runtimes for {', '.join(stack.architectures)}"))
    elif arch == "armv7l" and facts.get("tvmops_float_abi") == "soft":
        found.append(Finding("its programs pass floats in integer registers (armel); runtimes are built for armhf"))
    glibc = facts.get("tvmops_glibc")
    if not glibc:
        found.append(Finding("its C library is not glibc, or of unknown version"))
    elif version_tuple(str(glibc)) < version_tuple(stack.glibc):
        text = f"its glibc is {glibc}; stack {stack.name} needs {stack.glibc} or newer"
        found.append(Finding(text, "a newer release of its distribution"))
    if needs_python(stack) and board_python(stack, facts) is None:
        pythons = pythons_found(facts)
        have = ", ".join(sorted(set(pythons.values()), key=version_tuple)) if pythons else "none"
        text = f"it has no Python {_pythons_of(stack)} (found: {have})"
        found.append(Finding(text, "a newer Python beside the system's: playbooks/toolchain.yml"))
    return found


def needs_python(stack: Stack) -> bool:
    """Whether a release of the stack runs in a Python; TVM's own C++ server needs none."""
    return stack.server != "cpp"


def runs_in(stack: Stack, python: str) -> bool:
    """Whether a release of the stack runs on a board with Python `python` ("3.6.9")."""
    if not stack.is_built:
        return stack.supports_python(python)
    if stack.server == "lean":
        return version_tuple(python) >= version_tuple(OLDEST_PYTHON)
    return not needs_python(stack) or release(stack.tag).supports_python(python)


def _pythons_of(stack: Stack) -> str:
    if stack.is_built and stack.server == "lean":
        return f"from {OLDEST_PYTHON} up"
    low, below = stack.python_min, stack.python_below
    if stack.is_built:
        low, below = release(stack.tag).python_min, release(stack.tag).python_below
    return f"from {low} up to, not including, {below}" if below else f"from {low} up"


def board_architecture(facts: Mapping[str, Any]) -> str:
    """What the board's programs are built for: a 64-bit kernel may carry a 32-bit system."""
    return architecture(str(facts.get("ansible_userspace_architecture") or facts.get("ansible_architecture") or ""))


def board_python(stack: Stack, facts: Mapping[str, Any]) -> tuple[str, str] | None:
    """(path, "3.11") of the board's Python that runs the stack: the one that gave the facts, else the newest."""
    fitting = {path: version for path, version in pythons_found(facts).items() if runs_in(stack, version)}
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


def pythons_found(facts: Mapping[str, Any]) -> dict[str, str]:
    """The board's Pythons: versions by path."""
    found = facts.get("tvmops_pythons")
    pythons = {str(path): str(version) for path, version in found.items()} if isinstance(found, Mapping) else {}
    own = facts.get("ansible_python")
    version = facts.get("ansible_python_version")
    if version:
        path = own.get("executable") if isinstance(own, Mapping) else None
        pythons[str(path or SYSTEM_PYTHON)] = str(version)
    return pythons


def release_variables(
    stack: Stack,
    facts: Mapping[str, Any],
    on_progress: OnProgress = quiet,
    baseline: bool = True,
    store: str | None = None,
    *,
    board_vars: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """The variables that playbooks/provision.yml wants for the board with these facts; makes artifacts as needed.

    Those of a stack that is built come from `store` (default: $TVMOPS_STORE, or the folder in the cache), built with
    the options of config.cmake that `board_vars` ask for. Raises StackError, with every reason, when the stack does not
    fit the board or was not built for it, ConfigError for options that are none.
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
    if stack.is_built:
        return _built_variables(stack, facts, path, store, board_vars)
    arch = board_architecture(facts)
    return artifact_variables(stack, arch, python, python_path=path, on_progress=on_progress, baseline=baseline)


def _built_variables(
    stack: Stack, facts: Mapping[str, Any], python_path: str, url: str | None, board_vars: Mapping[str, Any] | None
) -> dict[str, str]:
    artifact = stored_for(stack, facts, url, board_vars)
    return {
        "tvmops_release_stack": stack.name,
        "tvmops_release_key": artifact.key,
        "tvmops_release_archive": str(shipment(artifact).path),
        "tvmops_release_size": str(artifact.unpacked_size),
        "tvmops_release_server": str(artifact.manifest.get("server") or "python"),
        "tvmops_python": python_path,
    }


def stored_for(
    stack: Stack, facts: Mapping[str, Any], url: str | None = None, board_vars: Mapping[str, Any] | None = None
) -> Artifact:
    """Of a store the artifact that such a board gets: Store.newest_for.

    Raises StackError when there is none, ConfigError for options in `board_vars` that are none.
    """
    # Late: it imports Jinja2, and every command that reads a stack imports this file.
    from tvmops.stack.config import board_options

    options = board_options(board_vars or {})
    store = Store(url)
    try:
        return store.newest_for(stack, facts, options)
    finally:
        store.close()


def artifact_variables(
    stack: Stack,
    arch: str,
    python: str,
    *,
    python_path: str = SYSTEM_PYTHON,
    on_progress: OnProgress = quiet,
    baseline: bool = True,
) -> dict[str, str]:
    """As release_variables, for an architecture and Python ("3.11") that are known already."""
    runtime = ensure_artifact(stack, arch, python, on_progress)
    variables = {
        "tvmops_release_stack": stack.name,
        "tvmops_release_key": runtime.key,
        "tvmops_release_archive": str(runtime.path),
        "tvmops_release_size": str(runtime.unpacked_size),
        "tvmops_python": python_path,
    }
    if baseline and stack.baseline:
        reference = ensure_artifact(stack, arch, python, on_progress, part="baseline")
        variables["tvmops_baseline_key"] = reference.key
        variables["tvmops_baseline_archive"] = str(reference.path)
    return variables
