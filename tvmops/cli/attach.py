"""The command `attach`: watch what boards do without us."""

from __future__ import annotations

from typing import Any

from invoke.exceptions import Exit

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select


@command(
    help={
        "host": HOST_HELP,
        "inventory": INVENTORY_HELP,
        "json_": "one JSON event per line",
        "ask-become-pass": "ask for the sudo password, to see what runs as root",
        "stop": "let what runs there end after the task it is at",
    },
)
def attach(  # noqa: PLR0917
    ctx: Any,
    host: str,
    inventory: str | None = None,
    json_: bool = False,
    ask_become_pass: bool = False,
    stop: bool = False,
) -> None:
    """Follow what runs on boards without us, or show what the last run left that lost its link."""
    from tvmops.cli.console import choose_view
    from tvmops.cli.provision import asked_password
    from tvmops.fleet.attach import attach as watch

    hosts = select(load(inventory), host)
    recap = watch(hosts, choose_view(json_), password=asked_password() if ask_become_pass else None, stop=stop)
    if not recap.ok:
        raise Exit(code=recap.exit_code)


COMMANDS = [attach]
