"""What is installed: all that most of apt's tasks need, without what is needed to change it."""

import os

from .. import overlay
from ..context import ModuleError
from . import database, packages

QUERY_DEADLINE = 120  # seconds for programs that only read


class Asking:
    """dpkg's answers for one task."""

    def __init__(self, ctx, args):
        self.ctx = ctx
        self.args = args
        self.native = _native_architecture()

    def acting(self):
        """The same with what changes packages: imported when a task has something to do."""
        from .manager import Apt

        return Apt(self.ctx, self.args)

    def query(self, names):
        """What dpkg knows of these names; of all packages when there are none."""
        found = database.look_up(names) if names else None
        if found is None:
            found = self._asked(names)
        return found if overlay.active() is None else self._predicted(found, names)

    def _asked(self, names):
        argv = ["dpkg-query", "-W", "-f=" + packages.QUERY_FORMAT, "--"] + list(names)
        rc, stdout, stderr = self.ctx.run(argv, timeout=QUERY_DEADLINE, env={"LC_ALL": "C"})
        if rc not in (0, 1):
            raise ModuleError("dpkg's database cannot be read: %s" % stderr.strip(), rc=rc, stderr=stderr)
        return packages.parse_dpkg_query(stdout)

    def at_least(self, version, other):
        """True when Debian version `version` is `other` or newer."""
        return self.ctx.run(["dpkg", "--compare-versions", version, "ge", other], timeout=QUERY_DEADLINE)[0] == 0

    def require_root(self, purpose):
        """Raise ModuleError when the task's user is not root."""
        if os.geteuid() != 0:
            raise ModuleError("only root can %s: add `become: true` to the task or play" % purpose)

    def _predicted(self, found, names):
        """What dpkg knows, with what a check run would have changed."""
        changes = overlay.active().packages
        found = [one for one in found if one.name not in changes]
        for name, version in changes.items():
            if version and (name in names or not names):
                found.append(packages.Installed(name, self.native or "all", version, "ii ", {}))
        return found


def _native_architecture():
    """The architecture dpkg itself is of; "" on boards with a single one, where every package is of it."""
    try:
        with open("/var/lib/dpkg/arch") as stream:
            return stream.readline().strip()
    except (IOError, OSError):
        return ""
