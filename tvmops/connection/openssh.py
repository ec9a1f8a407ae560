"""How tvmops reaches machines, written as OpenSSH configuration: for ssh itself, VS Code and whatever else reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tvmops.connection import options
from tvmops.connection.settings import GLOBAL_KNOWN_HOSTS, USER_KNOWN_HOSTS, Settings, resolve
from tvmops.errors import ConfigError
from tvmops.inventory.model import Host
from tvmops.paths import user_path

HEAD = """\
# Written by tvmops ssh-config from {source}. Changes here are lost: change the inventory and run it again.
"""
# What an alias may not hold: blanks end it, and these are patterns or comments to OpenSSH.
NO_ALIAS = re.compile(r"[\s*?!,\"#]")


def fragment(hosts: Sequence[Host], source: str, leave_out: Path | None = None) -> str:
    """A block for every host, and one for every jump host on the way. Passwords are never in it.

    `leave_out` is a file that is not read though ~/.ssh/config includes it: the one that this text will replace.
    Raises ConfigError.
    """
    blocks: dict[str, str] = {}
    for host in hosts:
        if options.connection_kind(host) == "local":
            blocks[host.name] = f"# {host.name} is this machine."
        elif NO_ALIAS.search(host.name):
            blocks[host.name] = f"# {host.name!r} cannot be a name for ssh."
        else:
            _add(blocks, host.name, resolve(host, leave_out=leave_out))
    return "\n\n".join([HEAD.format(source=source).rstrip(), *blocks.values()]) + "\n"


def _add(blocks: dict[str, str], alias: str, settings: Settings) -> None:
    """The host's block and, before it, those of the machines in between, each reached through the one before."""
    via = "none"
    for jump in settings.jumps:
        # Of its own name, because ssh would look for the jump host's settings under any other in ~/.ssh/config.
        name = f"{alias}-via-{jump.name}"
        blocks[name] = _block(name, jump, via)
        via = name
    blocks[alias] = _block(alias, settings, via)


def _block(alias: str, settings: Settings, via: str) -> str:
    return "\n  ".join([f"Host {alias}", *(f"{name} {value}" for name, value in _lines(settings, via))])


def _lines(settings: Settings, via: str) -> Iterable[tuple[str, str]]:
    yield "HostName", _quoted(settings, settings.hostname.replace("%", "%%"))
    yield "User", _quoted(settings, settings.user)
    yield "Port", str(settings.port)
    if settings.explicit_identities:
        for path in settings.identity_files:
            yield "IdentityFile", _quoted(settings, path.replace("%", "%%"))
    if settings.identities_only:
        yield "IdentitiesOnly", "yes"
    if settings.host_key_alias:
        yield "HostKeyAlias", _quoted(settings, settings.host_key_alias)
    for name, files, usual in (
        ("UserKnownHostsFile", settings.user_known_hosts, USER_KNOWN_HOSTS),
        ("GlobalKnownHostsFile", settings.global_known_hosts, GLOBAL_KNOWN_HOSTS),
    ):
        if files != tuple(user_path(one) for one in usual.split()):
            yield name, " ".join(_quoted(settings, str(path).replace("%", "%%")) for path in files) or "none"
    yield "StrictHostKeyChecking", "yes"
    if settings.address_family != "any":
        yield "AddressFamily", settings.address_family
    if settings.connect_timeout:
        yield "ConnectTimeout", str(int(settings.connect_timeout))
    # Also when there is none: what ~/.ssh/config says elsewhere must not add another way.
    if settings.proxy_command:
        yield "ProxyCommand", settings.proxy_command.replace("%", "%%")
    else:
        yield "ProxyJump", via


def _quoted(settings: Settings, text: str) -> str:
    if '"' in text or "\n" in text:
        raise ConfigError(f"{settings.name}: OpenSSH's configuration cannot hold {text!r}")
    return f'"{text}"' if re.search(r"[\s#']", text) or not text else text
