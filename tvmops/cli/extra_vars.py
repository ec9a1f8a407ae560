"""--extra-vars as Ansible reads it: NAME=VALUE pairs, JSON or YAML text, or @FILE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tvmops.errors import ConfigError
from tvmops.source import load_yaml, parse_yaml

if TYPE_CHECKING:
    from tvmops.inventory import Host

SECRETS = ("ansible_become_pass", "ansible_become_password", "ansible_password", "ansible_ssh_pass")


def parse_extra_vars(given: Sequence[str]) -> dict[str, Any]:
    """One dictionary; later options win. Raises ConfigError."""
    variables: dict[str, Any] = {}
    for text in given:
        found = _one(text.strip())
        secret = next((name for name in found if name in SECRETS), None)
        if secret and not text.strip().startswith("@"):
            raise ConfigError(
                f"--extra-vars: {secret} on the command line can be read by every user of this machine",
                "give it in a file, --extra-vars @FILE, with --ask-become-pass or in $TVMOPS_BECOME_PASSWORD",
            )
        variables.update(found)
    return variables


def tell_hosts(hosts: Iterable[Host], given: Sequence[str] | None) -> None:
    """Give the hosts the variables of --extra-vars, the strongest. Raises ConfigError."""
    variables = parse_extra_vars(given or [])
    for host in hosts:
        host.vars.update(variables)
        host.origins.update(dict.fromkeys(variables, "--extra-vars"))


def _one(text: str) -> dict[str, Any]:
    from tvmops.playbook.split import Unbalanced, split_arguments

    if text.startswith("@"):
        value = load_yaml(text[1:])
        if value is not None and not isinstance(value, dict):
            raise ConfigError(f"--extra-vars {text}: the file is not a mapping of names to values")
        return value or {}
    if text.startswith(("{", "[")):
        value = parse_yaml(text, "--extra-vars")
        if not isinstance(value, dict):
            raise ConfigError(f"--extra-vars '{text}': not a mapping of names to values")
        return value
    try:
        options, rest = split_arguments(text)
    except Unbalanced as error:
        raise ConfigError(f"--extra-vars '{text}': {error}", "close the quote") from None
    if rest or not options:
        raise ConfigError(f"--extra-vars '{text}': cannot read '{rest or text}'", "write NAME=VALUE, JSON, or @FILE")
    return options
