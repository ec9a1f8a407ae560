"""The command `ssh-config`: the inventory as OpenSSH configuration, for VS Code and ssh."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, inventory_source, load, select
from tvmops.errors import ConfigError
from tvmops.paths import user_path


@command(
    name="ssh-config",
    help={
        "host": HOST_HELP,
        "inventory": INVENTORY_HELP,
        "output": "the file to write, e.g. ~/.ssh/tvmops.conf (default: standard output)",
    },
)
def ssh_config(ctx: Any, host: str = "all", inventory: str | None = None, output: str = "") -> None:
    """Write OpenSSH configuration for hosts of the inventory: VS Code and ssh then know them by name."""
    from tvmops.connection.openssh import fragment

    path = user_path(output).absolute() if output else None
    text = fragment(select(load(inventory), host), str(inventory_source(inventory)), path)
    if path is None:
        sys.stdout.write(text)
        return
    _replace(path, text)
    print(f"{path} is written; ssh and VS Code read it once ~/.ssh/config begins with the line")
    print(f'  Include "{path}"' if " " in str(path) else f"  Include {path}")


def _replace(path: Path, text: str) -> None:
    """The old file or the new one, never half of it; for nobody else to read. Raises ConfigError."""
    if path.is_dir():
        raise ConfigError(f"--output {path}: is a folder", "name a file in it")
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = stream.name  # made with mode 0600
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ConfigError(f"--output {path}: {error.strerror}") from error


COMMANDS = [ssh_config]
