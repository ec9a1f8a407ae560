"""apt's notes on which packages came only because others need them; autoremove takes those away."""

from .database import paragraphs

EXTENDED_STATES = "/var/lib/apt/extended_states"
AUTOMATIC = b"\nAuto-Installed: 1"


def automatic(names, path=EXTENDED_STATES):
    """Which of these package names apt has noted as installed automatically, for any architecture."""
    try:
        noted = {name for name, paragraph in paragraphs(path, names) if AUTOMATIC in paragraph}
    except (IOError, OSError):
        return []
    return [name for name in names if name in noted]
