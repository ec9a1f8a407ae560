"""Who runs this, as others are told."""

from __future__ import annotations

import os
import pwd


def user_name() -> str:
    """The name of the user, or the number where there is no name, as in some containers."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def owner_name() -> str:
    """user@machine."""
    return f"{user_name()}@{os.uname().nodename}"
