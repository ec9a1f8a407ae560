"""package_facts: the packages of the board, as the fact `packages`."""

import re

from ..context import ModuleError

SPEC = {
    "manager": {"type": "list", "elements": "str", "default": ["auto"]},
    "strategy": {"type": "str", "choices": ["first", "all"], "default": "first"},
}
CHECK = "run"
EXAMPLE = {"manager": ["apt"]}
OURS = ("auto", "apt")
OTHERS = (
    "apk",
    "dnf",
    "dnf5",
    "openbsd_pkg",
    "pacman",
    "pkg",
    "pkg5",
    "pkg_info",
    "pkgng",
    "portage",
    "rpm",
    "yum",
    "zypper",
)
FORMAT = "${db:Status-Abbrev}\\t${Package}\\t${Architecture}\\t${Version}\\t${Section}\\n"
DEADLINE = 300  # seconds; apt-cache reads all lists, from an SD card at times
RELEASE = re.compile(r"release\s+(.*)")
SOURCE = re.compile(r"\s*-?\d+ (\S.*)")
INSTALLED = " *** "  # before the version that is installed; its sources follow


def act(ctx, args):
    """Ask dpkg what is installed, and apt where it came from."""
    managers = [one.lower() for one in args["manager"]]
    unknown = [one for one in managers if one not in OURS + OTHERS]
    if unknown:
        raise ModuleError("unknown package managers: %s" % ", ".join(unknown))
    if not set(managers).intersection(OURS) or ctx.which("dpkg-query") is None:
        raise ModuleError("none of the package managers %s is on this board, or known to tvmops (apt is)" % managers)
    rows = [line.split("\t") for line in _output(ctx, ["dpkg-query", "-W", "-f", FORMAT]).splitlines()]
    rows = [row for row in rows if len(row) == 5 and row[0][1:2] not in ("n", "c")]
    native = _output(ctx, ["dpkg", "--print-architecture"]).strip()
    by_name = {_full_name(row, native): row for row in rows}
    origins = _origins(ctx, sorted(by_name))
    packages = {}
    for name, row in by_name.items():
        found = {"name": name, "version": row[3], "arch": row[2], "category": row[4], "source": "apt"}
        packages[name] = [dict(found, origin=origins.get(name, ""))]
    return {"ansible_facts": {"packages": packages}}


def _full_name(row, native):
    """As apt names it: with the architecture where it is a foreign one."""
    return row[1] if row[2] in (native, "all") else "%s:%s" % (row[1], row[2])


def _origins(ctx, names):
    """{package: the origin its release file names}; nothing where apt is missing or fails."""
    program = ctx.which("apt-cache")
    if program is None or not names:
        return {}
    try:
        labels = source_origins(_output(ctx, [program, "policy"]))
        return package_origins(_output(ctx, [program, "policy"] + names), labels)
    except ModuleError:
        return {}


def source_origins(text):
    """{`URL suite/component arch Packages`: origin} of the output of `apt-cache policy`."""
    origins, source = {}, None
    for line in text.splitlines():
        match = RELEASE.search(line)
        if match and source is not None:
            fields = dict(part.partition("=")[::2] for part in match.group(1).split(","))
            origins[source] = fields.get("o", "")
        else:
            match = SOURCE.match(line)
            source = match.group(1) if match else source
    return origins


def package_origins(text, labels):
    """{package: origin of the installed version's first source} of the output of `apt-cache policy NAME...`."""
    origins, package, wanted = {}, None, False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            package, wanted = line.rstrip(":"), False
        elif line.startswith(INSTALLED):
            wanted = True
        elif wanted:
            match, wanted = SOURCE.match(line), False
            origins[package] = labels.get(match.group(1), "") if match else ""
    return origins


def _output(ctx, argv):
    rc, stdout, stderr = ctx.run(argv, timeout=DEADLINE, env={"LC_ALL": "C", "LANGUAGE": "C"})
    if rc != 0:
        raise ModuleError("%s failed: %s" % (argv[0], stderr.strip() or "exit code %d" % rc), rc=rc)
    return stdout
