"""Collects groups, hosts and variables from sources, then merges them by Ansible's precedence."""

from __future__ import annotations

from pathlib import Path

from tvmops.inventory.model import Group, Host, Inventory, Variables
from tvmops.source import Position


class Builder:
    """Sources add to it; `build` gives the Inventory."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {"all": Group("all"), "ungrouped": Group("ungrouped")}
        self.hosts: dict[str, Variables] = {}
        self.group_files: dict[str, list[Variables]] = {}
        self.host_files: dict[str, list[Variables]] = {}
        self.folders: list[Path] = []  # where group_vars and host_vars are

    def group(self, name: str, position: Position | None = None) -> Group:
        """The group of that name, made if need be."""
        return self.groups.setdefault(name, Group(name, position=position))

    def add_child(self, parent: str, child: str) -> bool:
        """Put a group under another; False when that would close a circle."""
        if parent == child or parent in self._descendants(child):
            return False
        self.group(child)
        if child not in self.groups[parent].children:
            self.groups[parent].children.append(child)
            self.groups[child].parents.append(parent)
        return True

    def add_host(self, group: str, host: str) -> None:
        """Put a host into a group."""
        self.hosts.setdefault(host, Variables())
        if host not in self.groups[group].direct_hosts:
            self.groups[group].direct_hosts.append(host)

    def host_variables(self, host: str) -> Variables:
        """The variables that sources gave this host."""
        return self.hosts.setdefault(host, Variables())

    def _descendants(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for child in self.group(waiting.pop()).children:
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return found

    def build(self, sources: list[Path]) -> Inventory:
        """The merged inventory."""
        self._complete_groups()
        inventory = Inventory(sources, groups=self.groups, origin=self)
        order = sorted(self.groups.values(), key=lambda group: (self._depth(group.name), _priority(group), group.name))
        for name, own in self.hosts.items():
            member_of = [group for group in order if name in group.hosts]
            merged = self._merge([group.name for group in member_of], name, own)
            groups = tuple(sorted(group.name for group in member_of if group.name != "all"))
            inventory.hosts[name] = Host(name, merged.values, merged.origins, groups)
        self.groups["all"].variables = self._merge(["all"], None, Variables())
        return inventory

    def _complete_groups(self) -> None:
        grouped = {h for g in self.groups.values() if g.name not in ("all", "ungrouped") for h in g.direct_hosts}
        self.groups["ungrouped"].direct_hosts = [host for host in self.hosts if host not in grouped]
        everything = self.groups["all"]
        everything.direct_hosts = []
        for group in self.groups.values():
            if group.name != "all" and not group.parents:
                everything.children.append(group.name)
                group.parents.append("all")
        for group in self.groups.values():
            below = {group.name} | self._descendants(group.name)
            members = {host for name in below for host in self.groups[name].direct_hosts}
            group.hosts = [host for host in self.hosts if host in members]

    def _depth(self, name: str) -> int:
        parents = self.groups[name].parents
        return 1 + max(self._depth(parent) for parent in parents) if parents else 0

    def _merge(self, groups: list[str], host: str | None, own: Variables) -> Variables:
        """Ansible's order: groups in the sources, then group_vars/all, other group_vars, the host, host_vars."""
        merged = Variables()
        for name in groups:
            merged.overlay(self.groups[name].variables)
        for name in ["all", *[name for name in groups if name != "all"]]:
            for variables in self.group_files.get(name, []):
                merged.overlay(variables)
        merged.overlay(own)
        for variables in self.host_files.get(host or "", []):
            merged.overlay(variables)
        return merged


def _priority(group: Group) -> int:
    value = group.variables.values.get("ansible_group_priority", 1)
    return value if isinstance(value, int) else 1
