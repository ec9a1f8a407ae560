"""Which view a run gets: live on a terminal, plain lines otherwise, JSON when asked for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvmops.fleet.run import Listener


def choose_view(json: bool = False, quiet: bool = False, diff: bool = False) -> Listener:
    """The listener that shows a run on standard output. NO_COLOR and TERM=dumb are respected."""
    from tvmops.fleet.console import JsonView, PlainView

    if json:
        return JsonView()
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    colour = terminal and "NO_COLOR" not in os.environ
    if terminal and not quiet:
        from tvmops.fleet.live import LiveView

        return LiveView(diff=diff)
    return PlainView(diff=diff, quiet=quiet, colour=colour)
