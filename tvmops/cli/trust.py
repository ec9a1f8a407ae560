"""The command that stores host keys: the explicit first-use step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select
from tvmops.errors import HostKeyError, HostUnreachable

if TYPE_CHECKING:
    from tvmops.inventory.model import Host


@command(
    help={
        "host": HOST_HELP,
        "inventory": INVENTORY_HELP,
        "yes": "store without asking; compare the fingerprints some other way",
        "replace": "also take the place of a different key that is stored",
    }
)
def trust(ctx: Any, host: str, inventory: str | None = None, yes: bool = False, replace: bool = False) -> None:
    """Show hosts' key fingerprints and store the keys in known_hosts once you agree."""
    failures = [error for item in select(load(inventory), host) if (error := _trust_one(item, yes, replace))]
    for error in failures[:-1]:
        print(f"tvmops: {error}", file=sys.stderr)
    if failures:
        raise failures[-1]


def _trust_one(host: Host, yes: bool, replace: bool) -> HostUnreachable | None:
    """Deal with one host; its error, if any, so that the others get their turn."""
    from tvmops.connection import options
    from tvmops.connection.hostkeys import is_known, scan_host_key, store_host_key

    if options.connection_kind(host) == "local":
        print(f"{host.name}: is this machine; there is no key to store")
        return None
    try:
        key = scan_host_key(host)
        print(f"{host.name}: {key.address} shows {key.type} {key.fingerprint}")
        try:
            if is_known(host, key):
                print(f"{host.name}: this key is stored already")
                return None
        except HostKeyError as error:
            if not replace:
                raise
            print(f"{host.name}: {error.message}")
        if not yes and not _agrees(host):
            print(f"{host.name}: not stored")
            return None
        print(f"{host.name}: stored in {store_host_key(host, key, replace=replace)}")
    except HostUnreachable as error:
        return error
    return None


def _agrees(host: Host) -> bool:
    if not sys.stdin.isatty():
        raise HostKeyError(
            f"{host.name}: nobody is there to compare the fingerprint: standard input is not a terminal",
            "compare it yourself, then run the command again with --yes",
        )
    print("On the machine itself this shows its fingerprints: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
    return input("Store this key? [y/N] ").strip().lower() in ("y", "yes")


COMMANDS = [trust]
