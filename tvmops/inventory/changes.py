"""Changes of an inventory while a playbook runs: add_host, group_by, meta: refresh_inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvmops.errors import ConfigError
from tvmops.inventory.builder import Builder
from tvmops.inventory.load import load_inventory, read_files
from tvmops.inventory.model import Inventory


def add_host(inventory: Inventory, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> bool:
    """Add a host, or groups and variables to one; whether that changed anything. Raises ConfigError."""
    builder = _origin(inventory)
    changed = name not in builder.hosts
    own = builder.host_variables(name)
    for key, value in variables.items():
        if key not in own.values or own.values[key] != value:
            own.set(key, value, "add_host")
            changed = True
    for group in groups:
        builder.group(group)
        if name not in builder.groups[group].direct_hosts:
            builder.add_host(group, name)
            changed = True
    if changed:
        _merge_again(inventory, builder)
    return changed


def add_to_group(inventory: Inventory, host: str, group: str, parents: Sequence[str]) -> bool:
    """Put a host into a group, which is made below its parents; whether that changed anything. Raises ConfigError."""
    builder = _origin(inventory)
    changed = group not in builder.groups
    builder.group(group)
    for parent in parents:
        if parent != "all" and group not in builder.group(parent).children:
            if not builder.add_child(parent, group):
                message = f"the group '{group}' cannot be below '{parent}', which is below it"
                raise ConfigError(message, "break the circle")
            changed = True
    if host not in builder.groups[group].direct_hosts:
        builder.add_host(group, host)
        changed = True
    if changed:
        _merge_again(inventory, builder)
    return changed


def reload(inventory: Inventory) -> None:
    """Read the sources again; what was added meanwhile is gone. Raises ConfigError."""
    _take_over(inventory, load_inventory(inventory.sources, inventory.playbook_dir))


def _origin(inventory: Inventory) -> Builder:
    if inventory.origin is None:
        raise ConfigError("this inventory cannot be changed", "name its sources with --inventory")
    return inventory.origin


def _merge_again(inventory: Inventory, builder: Builder) -> None:
    read_files(builder)
    _take_over(inventory, builder.build(inventory.sources))


def _take_over(inventory: Inventory, fresh: Inventory) -> None:
    """Let an inventory be what a fresh one is. Hosts that stay are the same objects."""
    for name in [name for name in inventory.hosts if name not in fresh.hosts]:
        del inventory.hosts[name]
    for name, host in fresh.hosts.items():
        known = inventory.hosts.setdefault(name, host)
        known.vars, known.origins, known.groups = host.vars, host.origins, host.groups
    inventory.groups, inventory.origin = fresh.groups, fresh.origin
