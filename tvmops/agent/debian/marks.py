"""apt's notes on which packages came only because others need them; autoremove takes those away."""

EXTENDED_STATES = "/var/lib/apt/extended_states"


def automatic(names, path=EXTENDED_STATES):
    """Which of these package names apt has noted as installed automatically, for any architecture."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    noted = set()
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        if fields.get("Auto-Installed") == "1":
            noted.add(fields.get("Package"))
    return [name for name in names if name in noted]
