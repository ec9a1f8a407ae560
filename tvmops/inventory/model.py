"""Hosts, groups and where each of their variables came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.errors import ConfigError
from tvmops.inventory import patterns
from tvmops.source import Position, did_you_mean

if TYPE_CHECKING:
    from tvmops.inventory.builder import Builder

IMPLICIT_LOCALHOST = ("localhost", "127.0.0.1", "::1")


@dataclass
class Variables:
    """Values and, for each name, the place that gave it ("file:line" or "program NAME")."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: Any, origin: str) -> None:
        """Give `name` a value, replacing an earlier one."""
        self.values[name] = value
        self.origins[name] = origin

    def overlay(self, other: Variables) -> None:
        """Let `other` win."""
        self.values.update(other.values)
        self.origins.update(other.origins)


@dataclass
class Host:
    """One machine. `vars` are merged by Ansible's precedence; `origins[name]` says which place gave it."""

    name: str
    vars: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


@dataclass
class Group:
    """A named set. `hosts` are all members, also through children, in inventory order."""

    name: str
    direct_hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    variables: Variables = field(default_factory=Variables)
    position: Position | None = None


@dataclass
class Inventory:
    """Everything loaded from one or more sources."""

    sources: list[Path]
    hosts: dict[str, Host] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    origin: Builder | None = None  # what it was merged from, for changes while a playbook runs
    playbook_dir: Path | None = None

    def select(self, pattern: str, limit: str | None = None) -> list[Host]:
        """The hosts that `pattern` (Ansible's syntax) names, in inventory order.

        Raises ConfigError naming the part that matches no host and no group.
        """
        chosen = self._matching(pattern)
        if limit is not None:
            allowed = {host.name for host in self._matching(limit)}
            chosen = [host for host in chosen if host.name in allowed]
            if not chosen:
                raise ConfigError(f"--limit {limit}: leaves no host of '{pattern}'", "compare both with inventory.list")
        return chosen

    def _matching(self, pattern: str) -> list[Host]:
        if pattern.strip() in IMPLICIT_LOCALHOST and pattern.strip() not in self.hosts:
            return [self._implicit_localhost(pattern.strip())]
        members = {name: group.hosts for name, group in self.groups.items()}
        try:
            names = patterns.evaluate(pattern, list(self.hosts), members)
        except patterns.UnknownName as error:
            known = [*self.hosts, *self.groups]
            where = ", ".join(str(source) for source in self.sources)
            raise ConfigError(
                f"no host or group matches '{error.name}' in {where}",
                did_you_mean(error.name, known) or "see: tvmops inventory.list",
            ) from None
        except patterns.BadPattern as error:
            raise ConfigError(f"host pattern '{pattern}': {error}", "see docs/inventory.md, Patterns") from None
        return [self.hosts[name] for name in names]

    def _implicit_localhost(self, name: str) -> Host:
        variables = dict(self.groups["all"].variables.values)
        origins = dict(self.groups["all"].variables.origins)
        variables["ansible_connection"] = "local"
        origins["ansible_connection"] = "implicit localhost"
        return Host(name, variables, origins, ("all",))

    def walk(self, group: str = "all", depth: int = 0) -> Iterator[tuple[int, str, bool]]:
        """(depth, name, is_group) from a group down, as `inventory.graph` prints it."""
        yield depth, group, True
        for child in self.groups[group].children:
            yield from self.walk(child, depth + 1)
        for host in self.groups[group].direct_hosts:
            yield depth + 1, host, False
