"""An executable inventory: Ansible's dynamic contract, JSON from `--list` (and `--host NAME` without `_meta`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.inventory.builder import Builder

DEADLINE = 60.0


def read(path: Path, builder: Builder) -> None:
    """Run the program and add what it lists. Raises ConfigError naming it when it fails, hangs or prints no JSON."""
    listed = _ask(path, "--list")
    origin = f"program {path}"
    variables_by_host = listed.pop("_meta", {}).get("hostvars") if isinstance(listed.get("_meta", {}), dict) else None
    for name, body in listed.items():
        _group(name, body, builder, origin, path)
    for host in list(builder.hosts):
        given = variables_by_host.get(host, {}) if variables_by_host is not None else _ask(path, "--host", host)
        for key, value in given.items():
            builder.host_variables(host).set(key, value, origin)


def _group(name: str, body: Any, builder: Builder, origin: str, path: Path) -> None:
    group = builder.group(name)
    if isinstance(body, list):
        body = {"hosts": body}
    if not isinstance(body, dict):
        raise ConfigError(f"{path}: group '{name}' must be an object or a list of hosts", "see docs/inventory.md")
    for host in body.get("hosts", []):
        builder.add_host(name, str(host))
    for key, value in body.get("vars", {}).items():
        group.variables.set(key, value, origin)
    for child in body.get("children", []):
        if not builder.add_child(name, str(child)):
            raise ConfigError(f"{path}: group '{child}' would be its own ancestor", "mend the program's output")


def _ask(path: Path, *arguments: str) -> dict[str, Any]:
    command = [str(path.absolute()), *arguments]
    shown = " ".join([str(path), *arguments])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"{shown}: no answer within {DEADLINE:.0f} s", "run it by hand to see where it waits"
        ) from None
    except OSError as error:
        raise ConfigError(f"{shown}: cannot run: {error.strerror}", "check its first line (#!) and mode") from None
    if done.returncode != 0:
        raise ConfigError(f"{shown}: exit code {done.returncode}: {done.stderr.strip()[-500:]}", "run it by hand")
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise ConfigError(f"{shown}: not JSON: {error}", "it must print one JSON object") from None
    if not isinstance(answer, dict):
        raise ConfigError(f"{shown}: not a JSON object", "it must print one JSON object")
    return answer
