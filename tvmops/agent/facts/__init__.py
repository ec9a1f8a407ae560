"""Facts: what a board is, under Ansible's names where Ansible has one. One file per theme."""

import fnmatch

from . import (
    cpu,
    distribution,
    hardware,
    local,
    memory,
    mounts,
    network,
    platform,
    releases,
    services,
    session,
    toolchain,
    virtualization,
)

# (name, the wider subset it belongs to, collector); the order is the order of gathering
THEMES = (
    ("platform", "min", platform.collect),
    ("distribution", "min", distribution.collect),
    ("session", "min", session.collect),
    ("services", "min", services.collect),
    ("local", "min", local.collect),
    ("cpu", "hardware", cpu.collect),
    ("memory", "hardware", memory.collect),
    ("mounts", "hardware", mounts.collect),
    ("product", "hardware", hardware.collect),
    ("network", "network", network.collect),
    ("virtual", "virtual", virtualization.collect),
    ("toolchain", "tvmops", toolchain.collect),
    ("releases", "tvmops", releases.collect),
)
# Ansible's finer names that people use, and where they live here.
SYNONYMS = {
    "date_time": "session",
    "env": "session",
    "user": "session",
    "python": "session",
    "service_mgr": "services",
    "pkg_mgr": "distribution",
    "lsb": "distribution",
    "interfaces": "network",
    "dns": "network",
    "devices": "hardware",
    "dmi": "product",
    "virtualization": "virtual",
    "facter": None,
    "ohai": None,
}


def names():
    """Every name that gather_subset takes."""
    themes = {name for name, _, _ in THEMES}
    return sorted({"all", "min"} | themes | {wide for _, wide, _ in THEMES} | set(SYNONYMS))


def chosen(subset):
    """The names of the themes that a gather_subset list asks for. Raises ValueError for a name there is not."""
    wanted, refused = set(), set()
    for entry in subset or ["all"]:
        into = refused if entry.startswith("!") else wanted
        into.update(_themes(entry.lstrip("!"), entry.startswith("!")))
    if not any(not entry.startswith("!") for entry in subset or ["all"]):
        wanted = _themes("all", False)
    minimum = _themes("min", False)
    if "!min" not in (subset or []):
        wanted = wanted | minimum
    explicit = {SYNONYMS.get(entry, entry) for entry in subset or []}
    return {name for name in wanted if name not in refused or name in explicit}


def _themes(name, refusing):
    name = SYNONYMS.get(name, name)
    if name is None:
        return set()
    if name == "all":
        return {theme for theme, wide, _ in THEMES if not (refusing and wide == "min")}
    found = {theme for theme, wide, _ in THEMES if name in (theme, wide)}
    if not found:
        raise ValueError("there is no facts subset %r; there are %s" % (name, ", ".join(names())))
    return found


def gather(board, subset=None, fact_path="/etc/ansible/facts.d"):
    """All facts of the subset in one dict.

    A theme that fails leaves its facts out and says why under tvmops_fact_errors.
    """
    facts, errors = {}, {}
    wanted = chosen(subset)
    for name, _, collect in THEMES:
        if name not in wanted:
            continue
        try:
            facts.update(collect(board, fact_path) if collect is local.collect else collect(board))
        except Exception as error:  # one odd board must not lose all the other facts
            errors[name] = "%s: %s" % (type(error).__name__, error)
    if errors:
        facts["tvmops_fact_errors"] = errors
    return facts


def select(facts, patterns):
    """The facts whose name, with or without ansible_, matches one of the shell patterns; all when there are none."""
    patterns = [pattern for pattern in patterns or [] if pattern]
    if not patterns:
        return facts
    return {
        name: value
        for name, value in facts.items()
        if any(fnmatch.fnmatchcase(name, one) or fnmatch.fnmatchcase(name, "ansible_" + one) for one in patterns)
    }
