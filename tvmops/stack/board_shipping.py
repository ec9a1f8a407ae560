"""What provisioning and shipping need to know to bring an artifact to a board, with no more to send than it lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from tvmops.errors import ConfigError, StackError
from tvmops.stack.abi import mismatches
from tvmops.stack.artifact import Artifact
from tvmops.stack.board import OLDEST_PYTHON, SYSTEM_PYTHON, board_python, pythons_found
from tvmops.stack.shipping import best_base, find_artifact, shared_bytes, shipment
from tvmops.stack.spec import load_stack, version_tuple


def board_variables(
    artifact: Artifact, facts: Mapping[str, Any], *, elsewhere: bool = False
) -> tuple[dict[str, str], str]:
    """(the variables of playbooks/ship.yml for the board with these facts, for people what will be sent).

    `elsewhere`: the board's releases are not where facts look for them. Raises StackError, naming what the artifact
    needs and the board lacks.
    """
    manifest = artifact.manifest
    reasons = mismatches(manifest, facts)
    python = release_python(manifest, facts)
    if python is None:
        have = ", ".join(sorted(set(pythons_found(facts).values()), key=version_tuple)) or "none"
        wanted = manifest.get("python") or f"{OLDEST_PYTHON} or newer"
        reasons.append(f"it has no Python {wanted} (found: {have})")
    if reasons or python is None:
        raise StackError(
            f"artifact {artifact.key} of stack {manifest['stack']} does not fit: {'; '.join(reasons)}",
            "build it for this board: tvmops build --host NAME",
        )
    sent, text = _shipped(artifact, {} if elsewhere else facts)
    variables = {
        "tvmops_release_stack": str(manifest["stack"]),
        "tvmops_release_key": artifact.key,
        "tvmops_release_server": str(manifest.get("server") or "python"),
        "tvmops_python": python,
    }
    return {**variables, **sent}, text


def lightened(variables: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, str]:
    """The release variables of a board, changed so that only what it lacks is sent."""
    releases = facts.get("tvmops_releases")
    keys = releases.get("keys") if isinstance(releases, Mapping) else None
    if not keys or variables["tvmops_release_key"] in keys:
        return dict(variables)
    return {**variables, **_shipped(find_artifact(variables["tvmops_release_key"]), facts)[0]}


def release_python(manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """The path of the board's Python that runs a release with this manifest; None when it has none."""
    pythons = pythons_found(facts)
    version = str(manifest.get("python") or "")
    if not version and manifest.get("server") == "python":
        with contextlib.suppress(ConfigError, StackError):
            chosen = board_python(load_stack(str(manifest["stack"])), facts)
            return chosen[0] if chosen else None
    if version:
        fitting = [path for path, found in pythons.items() if f"{found}.".startswith(f"{version}.")]
    else:
        fitting = [path for path, found in pythons.items() if version_tuple(found) >= version_tuple(OLDEST_PYTHON)]
    return SYSTEM_PYTHON if SYSTEM_PYTHON in fitting else min(fitting, default=None)


def _shipped(artifact: Artifact, facts: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """(the variables that say what is sent, the same for people)."""
    whole = shipment(artifact)
    releases = facts.get("tvmops_releases")
    about: Mapping[str, Any] = releases if isinstance(releases, Mapping) else {}
    keys = list(about.get("keys") or ())
    variables = {"tvmops_release_archive": str(whole.path), "tvmops_release_size": str(artifact.unpacked_size)}
    if artifact.key in keys:
        return variables, f"release {artifact.key} is there"
    base = best_base(artifact, set(keys) - set(about.get("bad") or ()))
    if base is None:
        return variables, f"release {artifact.key}: {whole.size / 1e6:.2f} MB to send"
    delta = shipment(artifact, base)
    variables = {
        "tvmops_release_archive": str(delta.path),
        "tvmops_release_whole": str(whole.path),
        "tvmops_release_base": base.key,
        "tvmops_release_size": str(artifact.unpacked_size - shared_bytes(artifact.manifest, base.manifest)),
    }
    text = f"{delta.size / 1e6:.2f} MB to send of {whole.size / 1e6:.2f}, release {base.key} has the rest"
    return variables, f"release {artifact.key}: {text}"
