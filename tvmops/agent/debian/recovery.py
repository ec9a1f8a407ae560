"""After a power cut in the middle of dpkg: finding that out, and putting it right."""

import glob
import os
import re

from .database import DPKG, is_interrupted

ARCHIVES = "/var/cache/apt/archives"
NO_ARCHIVE = re.compile(r"The package (\S+) needs to be reinstalled, but I can't find an archive for it")
# "Status: install ok half-configured": the second word is "reinstreq" for what must be unpacked again.
BROKEN = re.compile(
    rb"^Package: (\S+)\n(?:[^\n]+\n)*?"
    rb"Status: (?:\S+ reinstreq \S+|\S+ \S+ (unpacked|half-configured|half-installed))$",
    re.MULTILINE,
)


def broken_packages(dpkg=DPKG):
    """The packages that dpkg has begun and not finished, by name; its journal counts before its database."""
    found = {}
    updates = os.path.join(dpkg, "updates")
    journal = sorted(name for name in os.listdir(updates) if name.isdigit()) if os.path.isdir(updates) else []
    for path in [os.path.join(dpkg, "status")] + [os.path.join(updates, name) for name in journal]:
        try:
            with open(path, "rb") as source:
                text = source.read()
        except (IOError, OSError):
            continue
        broken = {match.group(1) for match in BROKEN.finditer(text)}
        if path.endswith("/status"):
            found = dict.fromkeys(broken, True)
            continue
        for name in re.findall(rb"^Package: (\S+)$", text, re.MULTILINE):
            found[name] = name in broken
    return sorted(name.decode("utf-8", "replace") for name, is_broken in found.items() if is_broken)


def recover(apt, outcome, needed):
    """Let dpkg and apt-get finish what was cut off -> whether there was something to finish.

    `needed`: something is to be installed, so that unfinished packages stand in the way even where dpkg's journal is
    empty. outcome["recovered"] gets the packages that work again. Raises ModuleError when it fails and `needed`.
    """
    interrupted = is_interrupted()
    if not interrupted and not needed:
        return False
    broken = broken_packages()
    if not interrupted and not broken:
        return False
    apt = apt.acting()
    if apt.ctx.check:
        outcome.update(changed=True, recovered=broken, msg="dpkg was interrupted earlier and would be recovered")
        return False
    done = apt.configure()
    left = broken_packages()
    if left or done.rc != 0:
        done = apt.fix_broken()
        for name in NO_ARCHIVE.findall(done.output):
            _put_right(apt, name, needed, outcome)
            done = apt.fix_broken()
        left = broken_packages()
    recovered = [name for name in broken if name not in left]
    outcome["recovered"] = outcome.get("recovered", []) + recovered
    outcome["changed"] = outcome["changed"] or bool(recovered) or (interrupted and not is_interrupted())
    if left and needed:
        apt.fail("dpkg was interrupted earlier and cannot finish %s: " % ", ".join(left), ["apt-get"], done)
    if left:
        _warn(outcome, "dpkg was interrupted earlier and has not finished %s" % ", ".join(left))
    return True


def _put_right(apt, name, needed, outcome):
    """A package that must be unpacked again, of a kind that no source has: from its file, else it must go."""
    known = [apt.args["deb"]] if apt.args["deb"] else []
    for path in known + glob.glob(os.path.join(ARCHIVES, glob.escape(name) + "_*.deb")):
        if apt.name_in(path) == name:
            apt.dpkg(["--unpack", path])
            apt.dpkg(["--configure", "-a"])
            return
    if needed:  # it blocks every installation
        apt.dpkg(["--force-remove-reinstreq", "--remove", name])
        _warn(outcome, "%s was left half installed, and no archive of it is to be found: it was removed" % name)


def _warn(outcome, text):
    outcome.setdefault("warnings", []).append(text)
