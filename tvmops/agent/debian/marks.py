"""apt's notes on which packages came only because others need them; autoremove takes those away."""

EXTENDED_STATES = "/var/lib/apt/extended_states"
AUTOMATIC = b"\nAuto-Installed: 1"


def automatic(names, path=EXTENDED_STATES):
    """Which of these package names apt has noted as installed automatically, for any architecture."""
    try:
        with open(path, "rb") as source:
            data = b"\n" + source.read()
    except OSError:
        return []
    return [name for name in names if _noted(data, b"\nPackage: " + name.encode("ascii", "replace") + b"\n")]


def _noted(data, start):
    at = data.find(start)
    while at >= 0:
        end = data.find(b"\n\n", at)
        if AUTOMATIC in data[at : end if end >= 0 else len(data)]:
            return True
        at = data.find(start, at + 1)
    return False
