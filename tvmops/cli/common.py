"""What every command shares: errors become one message and an exit code; options find their inventory."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from invoke.exceptions import Exit
from invoke.tasks import task

from tvmops.errors import ConfigError, TvmopsError
from tvmops.paths import exists, find_project_file, lab_dir

if TYPE_CHECKING:
    from tvmops.inventory.model import Host, Inventory

Function = TypeVar("Function", bound=Callable[..., Any])

INVENTORY_HELP = "inventory file, folder or program; 'lab' for the virtual boards (default: inventory/hosts.yml)"
HOST_HELP = "host pattern as in Ansible: a name, group, glob, 'boards:!pynq'"


def command(**options: Any) -> Callable[[Function], Any]:
    """An Invoke task whose TvmopsErrors end as one message and their exit code, never as a traceback."""

    def wrap(function: Function) -> Any:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except TvmopsError as error:
                raise Exit(f"tvmops: {error}", code=error.exit_code) from error
            except KeyboardInterrupt as error:
                raise Exit("tvmops: interrupted", code=130) from error
            except BrokenPipeError as error:
                # The reader (head, less) has gone: what was asked for was shown.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                raise Exit(code=0) from error

        return task(guarded, **options)

    return wrap


def after_dashes() -> str:
    """What the user wrote after `--`, joined as by ssh. (Invoke hands it to commands only since its version 3.)"""
    return " ".join(sys.argv[sys.argv.index("--") + 1 :]) if "--" in sys.argv else ""


def inventory_source(name: str | None) -> Path:
    """The path that `--inventory NAME` means. Raises ConfigError when there is nothing there."""
    name = name or os.environ.get("TVMOPS_INVENTORY") or "inventory/hosts.yml"
    if name == "lab" or name.startswith("lab:"):
        path = lab_dir() / (name.partition(":")[2] or "lab") / "inventory.yml"
        if not exists(path):
            option = f" --id {path.parent.name}" if name != "lab" else ""
            raise ConfigError(f"--inventory {name}: that lab is not up", f"start it: tvmops lab.up --boards 2{option}")
        return path
    path = find_project_file(name)
    if not exists(path):
        raise ConfigError(
            f"--inventory {name}: no such file or folder",
            "name an inventory with --inventory, or run in a folder that has inventory/hosts.yml",
        )
    return path


def load(inventory: str | None = None, playbook_dir: Path | None = None) -> Inventory:
    """The inventory that `--inventory NAME` means, with group_vars and host_vars merged."""
    from tvmops.inventory import load_inventory

    return load_inventory([inventory_source(inventory)], playbook_dir=playbook_dir)


def chosen(host: str, group: str) -> str:
    """The pattern of --host or --group, which mean the same; "" for neither. Raises ConfigError."""
    if host and group and host != group:
        raise ConfigError("--host and --group mean the same", "give one of them, for example 'boards:&jetson'")
    return host or group


def select(inventory: Inventory, pattern: str | None, limit: str | None = None) -> list[Host]:
    """The hosts of `--host PATTERN`. Raises ConfigError naming what matched nothing."""
    if not pattern:
        raise ConfigError("--host is missing", f"name a host or group: {', '.join(sorted(inventory.groups)[:8])}")
    return inventory.select(pattern, limit)
