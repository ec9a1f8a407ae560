"""Source trees in a bundle: what the hosts' stacks are compiled from, for `tvmops build` where there is no network."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmops.bundle.archive import Part
from tvmops.stack.sources import fetch_source
from tvmops.stack.spec import Stack


def collect_sources(stacks: Mapping[str, Stack], tell: Callable[[str], None]) -> Part:
    """The packed source tree of each stack that is compiled; `stacks`: by host. Raises StackError."""
    built = [stack for _, stack in sorted({stack.name: stack for stack in stacks.values()}.items()) if stack.is_built]
    if not built:
        tell("no sources: the runtimes of these hosts are not compiled, they are made of wheels")
    part = Part(about={"sources": {}})
    for stack in built:
        hosts = sorted(host for host, its in stacks.items() if its.name == stack.name)
        _add(part, stack, hosts, tell)
    return part


def _add(part: Part, stack: Stack, hosts: Sequence[str], tell: Callable[[str], None]) -> None:
    tree = fetch_source(stack, None, lambda text: tell(f"{stack.name}: {text}"))
    inside = f"sources/{stack.name}.tar.gz"
    part.files[inside] = tree.archive
    part.about["sources"][stack.name] = {
        "file": inside,
        "identity": tree.identity,
        "commit": tree.commit,
        "complete": tree.complete,
        "origin": tree.origin,
        "hosts": hosts,
    }


def build_commands(folder: Path, lock: Mapping[str, Any], hosts: Collection[str]) -> list[str]:
    """For people: how the hosts' stacks are compiled from the sources of the unpacked bundle."""
    lines = []
    for name, about in sorted(lock.get("sources", {}).items()):
        fitting = [host for host in about["hosts"] if host in hosts]
        if fitting:
            argv = ["tvmops", "build", "--host", ",".join(fitting), "--stack", name]
            argv += ["--source", str(folder / about["file"]), "--sha256", lock["files"][about["file"]]["sha256"]]
            only = "" if about["complete"] else " (its runtime)"
            lines.append(f"to compile {name}{only}: {shlex.join(argv)}")
    return lines
