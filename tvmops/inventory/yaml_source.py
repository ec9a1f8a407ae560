"""Ansible's YAML inventory: `all: {hosts, vars, children}` and any group beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvmops.inventory.builder import Builder
from tvmops.inventory.ranges import expand
from tvmops.source import Map, Position, Problems, did_you_mean, load_yaml

GROUP_KEYS = ("hosts", "vars", "children")


def read(path: Path, builder: Builder) -> None:
    """Add the file's groups and hosts. Raises ConfigError(s) with file:line:column, all faults at once."""
    document = load_yaml(path)
    if document is None:
        return
    problems = Problems()
    if isinstance(document, Map):
        for name in document:
            _group(str(name), document[name], document.keys_at[name], builder, problems)
    else:
        problems.add(Position(str(path), 1), "an inventory is a mapping of groups", "start with 'all:'")
    problems.raise_if_any()


def _group(name: str, body: Any, at: Position, builder: Builder, problems: Problems) -> None:
    if name in GROUP_KEYS:
        problems.add(at, f"'{name}' stands where a group name belongs", "put it under a group, e.g. 'all:'")
        return
    group = builder.group(name, at)
    if body is None:
        return
    if not isinstance(body, Map):
        problems.add(at, f"group '{name}' must be a mapping of hosts, vars and children")
        return
    for key in body:
        if key not in GROUP_KEYS:
            problems.add(
                body.keys_at[key],
                f"unknown key '{key}' in group '{name}'",
                did_you_mean(str(key), GROUP_KEYS),
            )
    _hosts(name, body.get("hosts"), body.at("hosts"), builder, problems)
    _variables(body.get("vars"), body.at("vars"), f"vars of group '{name}'", group.variables.set, problems)
    children = body.get("children")
    if children is None:
        return
    if not isinstance(children, Map):
        problems.add(body.at("children"), f"children of group '{name}' must be a mapping of groups")
        return
    for child in children:
        at = children.keys_at[child]
        _group(str(child), children[child], at, builder, problems)
        if str(child) not in GROUP_KEYS and not builder.add_child(name, str(child)):
            problems.add(at, f"group '{child}' would be its own ancestor", "take it out of one of the two groups")


def _hosts(group: str, body: Any, at: Position, builder: Builder, problems: Problems) -> None:
    if body is None:
        return
    if not isinstance(body, Map):
        problems.add(at, f"hosts of group '{group}' must be a mapping: each host name followed by ':'")
        return
    for name in body:
        at = body.keys_at[name]
        try:
            names = expand(str(name))
        except ValueError as error:
            problems.add(at, str(error))
            continue
        for host in names:
            builder.add_host(group, host)
            _variables(body[name], at, f"host '{host}'", builder.host_variables(host).set, problems)


def _variables(body: Any, at: Position, owner: str, store: Any, problems: Problems) -> None:
    if body is None:
        return
    if not isinstance(body, Map):
        problems.add(at, f"{owner}: variables must be a mapping")
        return
    for key in body:
        where = body.keys_at[key]
        store(str(key), body[key], f"{where.path}:{where.line}")
