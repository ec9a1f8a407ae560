"""TVM's releases on the board: which are whole, which one is current."""

import os
import re

PREFIX = "opt/tvmops"
KEY = re.compile(r"^[0-9a-f]{16}$")


def collect(board):
    """tvmops_releases: {"current": key or None, "keys": whole ones, "bad": those that were found broken}."""
    folder = PREFIX + "/releases"
    keys = [
        name for name in board.listdir(folder) if KEY.match(name) and board.exists("%s/%s/.complete" % (folder, name))
    ]
    try:
        current = os.path.basename(os.readlink(board.path(PREFIX + "/current")))
    except OSError:
        current = None
    return {
        "tvmops_releases": {
            "current": current if current in keys else None,
            "keys": keys,
            "bad": [key for key in keys if board.exists("%s/%s/.bad" % (folder, key))],
        }
    }
