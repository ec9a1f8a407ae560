"""The option --warm of commands that connect to boards."""

from __future__ import annotations

import os

WARM_HELP = "keep connections open for the next command, for this many seconds (60)"


def use_warm(given: bool | str) -> None:
    """Turn --warm [SECONDS] into what connections look at. Raises ConfigError."""
    if given is False:
        return
    from tvmops.connection.options import warm_seconds
    from tvmops.inventory.model import Host

    os.environ["TVMOPS_WARM"] = "yes" if given is True else str(given)
    try:
        wanted = warm_seconds(Host("--warm"))
    except Exception:
        del os.environ["TVMOPS_WARM"]
        raise
    if wanted > 0:
        from tvmops.connection.warm_reach import start_keeper

        start_keeper()
