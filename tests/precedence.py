"""Ansible's table of variable precedence as one playbook, with a variable for every neighbouring pair of levels."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tvmops.playbook import precedence

LEVELS = tuple(precedence.LEVELS)
PAIRS = tuple(itertools.pairwise(LEVELS))
# Facts are what they are: where a fact is weaker or stronger than something, this is the variable.
FACTS = {("playbook host_vars/*", "host facts"): "ansible_system", ("host facts", "play vars"): "ansible_kernel"}
# Registered results are dictionaries: they have one of their own.
REGISTERED = "registered"


def variable(pair: tuple[str, str]) -> str:
    """The variable that both levels of a pair define."""
    return FACTS.get(pair) or f"pair_{PAIRS.index(pair)}"


def expected(pair: tuple[str, str]) -> str:
    """What the stronger level says."""
    return "Linux" if pair[1] == "host facts" else pair[1]


def given(level: str) -> dict[str, str]:
    """The variables that a level defines."""
    return {variable(pair): level for pair in PAIRS if level in pair and level != "host facts"}


def write(folder: Path) -> tuple[Path, Path, dict[str, str]]:
    """Write it all -> (inventory, playbook, extra variables). The playbook writes `results` in the folder `root`."""
    files = {
        "inventory/hosts.yml": {
            "all": {
                "children": {
                    "boards": {"hosts": {"twin": {"ansible_connection": "local", **given("inventory file host vars")}}}
                },
                "vars": given("inventory file group vars"),
            }
        },
        "inventory/group_vars/all.yml": given("inventory group_vars/all"),
        "inventory/group_vars/boards.yml": given("inventory group_vars/*"),
        "inventory/host_vars/twin.yml": given("inventory host_vars/*"),
        "site/group_vars/all.yml": given("playbook group_vars/all"),
        "site/group_vars/boards.yml": given("playbook group_vars/*"),
        "site/host_vars/twin.yml": given("playbook host_vars/*"),
        "site/vars.yml": given("play vars_files"),
        "site/included.yml": {**given("include_vars"), REGISTERED: {"msg": "include_vars"}},
        "site/roles/shown/defaults/main.yml": given("role defaults"),
        "site/roles/shown/vars/main.yml": given("role vars"),
        "site/roles/shown/tasks/main.yml": [
            {"include_vars": "included.yml"},
            {"set_fact": given("set_facts and registered vars")},
            {"debug": {"msg": "registered vars"}, "register": REGISTERED},
            {"include_tasks": "show.yml", "vars": given("include params")},
        ],
        "site/roles/shown/tasks/show.yml": [{"block": [_show()], "vars": given("block vars")}],
        "site/site.yml": [
            {
                "hosts": "all",
                "vars": given("play vars"),
                "vars_files": ["vars.yml"],
                "roles": [{"role": "shown", **given("role params")}],
            }
        ],
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder / "inventory" / "hosts.yml", folder / "site" / "site.yml", given("extra vars")


def _show() -> dict[str, object]:
    names = ", ".join(f"'{variable(pair)}': {variable(pair)}" for pair in PAIRS)
    names += f", '{REGISTERED}': {REGISTERED}.msg"
    copy = {"content": "{{ {" + names + "} | to_json }}", "dest": "{{ root }}/results"}
    return {"copy": copy, "vars": given("task vars")}
