"""Ansible's table of variable precedence as one playbook: each neighbouring pair of levels has a variable of its own."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

# From the weakest to the strongest, by the names of Ansible's documentation (2 to 22; level 1 is no variable, 13 is
# vars_prompt, which is not supported).
LEVELS = (
    "role defaults", "inventory file group vars", "inventory group_vars/all", "playbook group_vars/all",
    "inventory group_vars/*", "playbook group_vars/*", "inventory file host vars", "inventory host_vars/*",
    "playbook host_vars/*", "host facts", "play vars", "play vars_files", "role vars", "block vars", "task vars",
    "include_vars", "set_facts and registered vars", "role params", "include params", "extra vars",
)  # fmt: skip
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
                "children": {"boards": {"hosts": {"twin": {"ansible_connection": "local", **given(LEVELS[6])}}}},
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
