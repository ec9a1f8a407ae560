"""The plan of `tvmops build`: which boards share what, what is built where, what is there already, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tvmops.inventory.model import Host
from tvmops.stack.abi import Abi
from tvmops.stack.artifact import Artifact
from tvmops.stack.build_order import BuildOrder
from tvmops.stack.spec import Stack, Target

CROSS, NATIVE, HOST = "cross", "native", "host:"
HERE = "localhost"  # the controller, as a host that builds


@dataclass(frozen=True)
class Asked:
    """What the command line asks for. `stack` and `builder` None: what each board's variables say."""

    stack: str | None = None
    builder: str | None = None
    target: Target = "runtime"
    overrides: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    sha256: str = ""
    build_type: str = "Release"
    jobs: int | None = None


@dataclass
class Board:
    """A board that wants an artifact. `facts` None when there are none; `refused` says why it gets nothing."""

    host: Host
    stack: Stack
    facts: Mapping[str, Any] | None
    abi: Abi
    refused: list[str] = field(default_factory=list)


@dataclass
class Build:
    """One artifact to be built, or found in the store. `where` is the name of the host that builds it, in `folder`."""

    order: BuildOrder
    builder: str
    where: str
    folder: str
    boards: list[Board]
    artifact: Artifact | None = None

    @property
    def key(self) -> str:
        """The build key."""
        return self.order.key

    @property
    def title(self) -> str:
        """For people: stack, target, machine."""
        return f"{self.order.stack.name} {self.order.target} for {self.order.machine}"


@dataclass
class BuildPlan:
    """All boards, the builds that serve them, and the stacks whose artifacts are made from wheels."""

    boards: list[Board]
    builds: list[Build]
    wheels: list[Board] = field(default_factory=list)

    @property
    def refused(self) -> list[Board]:
        """Boards that get nothing."""
        return [board for board in self.boards if board.refused]

    @property
    def to_build(self) -> list[Build]:
        """What is not in the store."""
        return [build for build in self.builds if build.artifact is None]

    def abis(self) -> dict[Abi, list[str]]:
        """Names of boards by ABI; those without facts are left out."""
        found: dict[Abi, list[str]] = {}
        for board in self.boards:
            if board.facts is not None:
                found.setdefault(board.abi, []).append(board.host.name)
        return found

    def lines(self) -> list[str]:
        """The plan for a person."""
        cached = len(self.builds) - len(self.to_build)
        lines = [
            f"{_count(len(self.boards), 'board')}, {_count(len(self.abis()), 'ABI')}, "
            f"{_count(len(self.to_build), 'build')}; {cached} in the store"
        ]
        lines += [f"  {abi}: {', '.join(names)}" for abi, names in self.abis().items()]
        lines += [line for build in self.builds for line in self._build_lines(build)]
        lines += self._wheel_lines()
        for board in self.refused:
            lines += [f"refused: {board.host.name}: {reason}" for reason in board.refused]
        return lines

    def _build_lines(self, build: Build) -> list[str]:
        names = ", ".join(board.host.name for board in build.boards) or "no board"
        if build.artifact is not None:
            return [f"in the store  {build.key}  {build.title}: {names} (artifact {build.artifact.key})"]
        chain = build.order.toolchain
        place = "here" if build.where == HERE else f"on {build.where}"
        compiler = f"{chain.compiler.kind} {chain.version}"
        return [f"to build      {build.key}  {build.title}: {names} ({build.builder}, {place}, {compiler})"]

    def _wheel_lines(self) -> list[str]:
        groups: dict[tuple[str, str], list[str]] = {}
        for board in self.wheels:
            groups.setdefault((board.stack.name, board.abi.machine), []).append(board.host.name)
        return [
            f"from wheels   {stack} for {machine}: {', '.join(names)}" for (stack, machine), names in groups.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event": "plan",
            "boards": len(self.boards),
            "abis": {str(abi): names for abi, names in self.abis().items()},
            "builds": [_build_dict(build) for build in self.builds],
            "wheels": [{"board": board.host.name, "stack": board.stack.name} for board in self.wheels],
            "refused": {board.host.name: board.refused for board in self.refused},
        }


def _build_dict(build: Build) -> dict[str, Any]:
    return {
        "key": build.key,
        "stack": build.order.stack.name,
        "target": build.order.target,
        "machine": build.order.machine,
        "builder": build.builder,
        "where": build.where,
        "boards": [board.host.name for board in build.boards],
        "artifact": build.artifact.key if build.artifact else None,
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
