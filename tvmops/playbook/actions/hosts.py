"""add_host and group_by: the inventory changes for the rest of the run."""

from __future__ import annotations

import re
from typing import Any

from tvmops.inventory import changes
from tvmops.playbook.actions.action import Action

_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d+)\Z")
_OWN = ("name", "host", "hostname", "groups", "group", "groupname")


def add_host(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Add a host with its groups and variables."""
    clean = action.arguments(args)
    name, variables = str(clean["name"]), {key: value for key, value in args.items() if key not in _OWN}
    found = _PORT.match(name)
    if found:
        name, variables["ansible_port"] = found.group(1).strip("[]"), int(found.group(2))
    groups = [one.strip() for given in clean["groups"] or [] for one in str(given).split(",") if one.strip()]
    with action.shared.changing:
        changed = changes.add_host(action.shared.inventory, name, groups, variables)
        action.shared.inventory_changed()
    added = {"host_name": name, "groups": groups, "host_vars": variables}
    return {"changed": changed, "add_host": added}


def group_by(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Put the host into a group of its kind."""
    clean = action.arguments(args)
    group = str(clean["key"]).replace(" ", "-")
    parents = [str(one).replace(" ", "-") for one in clean["parents"] or ["all"]]
    with action.shared.changing:
        changed = changes.add_to_group(action.shared.inventory, action.state.host.name, group, parents)
        action.shared.inventory_changed()
    return {"changed": changed, "add_group": group, "parent_groups": parents}
