"""Commands about the inventory: list, graph, show."""

from __future__ import annotations

import json
from typing import Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select

SECRET_WORDS = ("password", "_pass", "secret", "token", "passphrase")


def shown_value(name: str, value: Any) -> str:
    """A variable as text, secrets hidden."""
    if any(word in name.lower() for word in SECRET_WORDS):
        return "(hidden)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@command(
    name="list",
    help={"inventory": INVENTORY_HELP, "host": HOST_HELP, "json_": "one JSON object for machines"},
)
def list_(ctx: Any, inventory: str | None = None, host: str = "all", json_: bool = False) -> None:
    """Hosts with address, groups and stack."""
    chosen = select(load(inventory), host)
    if json_:
        print(
            json.dumps(
                {item.name: {"groups": item.groups, "vars": _public(item.vars)} for item in chosen},
                default=str,
            )
        )
        return
    width = max((len(item.name) for item in chosen), default=4)
    for item in chosen:
        address = item.vars.get("ansible_host", item.name)
        where = "local" if item.vars.get("ansible_connection") == "local" else str(address)
        print(f"{item.name:<{width}}  {where:<16}  {item.vars.get('tvm_stack', '-')!s:<12}  {', '.join(item.groups)}")


@command(help={"inventory": INVENTORY_HELP})
def graph(ctx: Any, inventory: str | None = None) -> None:
    """Groups and hosts as a tree."""
    for depth, name, is_group in load(inventory).walk():
        print("  " * depth + (f"@{name}:" if is_group else name))


@command(help={"inventory": INVENTORY_HELP, "host": HOST_HELP, "json_": "one JSON object for machines"})
def show(ctx: Any, host: str, inventory: str | None = None, json_: bool = False) -> None:
    """A host's variables, each with the file and line that gave it."""
    for item in select(load(inventory), host):
        if json_:
            rows = {name: {"value": value, "origin": item.origins[name]} for name, value in _public(item.vars).items()}
            print(json.dumps({"host": item.name, "groups": item.groups, "vars": rows}, default=str))
            continue
        print(f"{item.name}  (groups: {', '.join(item.groups)})")
        width = max((len(name) for name in item.vars), default=0)
        for name in sorted(item.vars):
            print(f"  {name:<{width}} = {shown_value(name, item.vars[name])}    # {item.origins[name]}")


def _public(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: "(hidden)" if shown_value(name, "") == "(hidden)" else value for name, value in variables.items()}


COMMANDS = [list_, graph, show]
