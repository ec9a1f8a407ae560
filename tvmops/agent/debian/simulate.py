"""What `apt-get -s` says it would do."""

import re

_INST = re.compile(r"Inst (\S+)(?: \[([^\]]+)\])? \((\S+)[^)]*?(?:\[([^\]]*)\])?\)")
_REMV = re.compile(r"(?:Remv|Purg) (\S+)(?: \[([^\]]+)\])?")


class Simulation:
    """installed: {name: (old version or "", new version)}; removed: {name: old version}."""

    def __init__(self):
        self.installed = {}
        self.removed = {}

    @property
    def changes(self):
        """True when apt-get would change anything."""
        return bool(self.installed or self.removed)

    def forget(self, known):
        """Leave out what an earlier task would have done: {name: version, "" for gone}."""
        for name in [name for name, (_, new) in self.installed.items() if known.get(name) in (new, "unknown")]:
            del self.installed[name]
        for name in [name for name in self.removed if known.get(name) == ""]:
            del self.removed[name]

    def as_text(self):
        """What it does to which versions, for a person."""
        parts = []
        for name, (old, new) in sorted(self.installed.items()):
            parts.append("%s %s -> %s" % (name, old, new) if old else "%s %s installed" % (name, new))
        return ", ".join(parts + ["%s %s removed" % pair for pair in sorted(self.removed.items())])

    def before(self):
        """{name: version} of everything that would be changed, "" for what is not there yet."""
        state = {name: old for name, (old, _) in self.installed.items()}
        state.update(self.removed)
        return state

    def after(self):
        """{name: version} afterwards, "" for what would be gone."""
        state = {name: new for name, (_, new) in self.installed.items()}
        for name in self.removed:
            state.setdefault(name, "")
        return state


def parse(text):
    """Read the output of `apt-get -s`. Lines that say nothing about packages are passed over."""
    simulation = Simulation()
    for line in text.splitlines():
        match = _INST.match(line)
        if match:
            simulation.installed[match.group(1)] = (match.group(2) or "", match.group(3))
            continue
        match = _REMV.match(line)
        if match:
            simulation.removed[match.group(1)] = match.group(2) or ""
    return simulation
