"""One task's use of apt-get: simulation, locks, update, and runs that end with a clear message."""

import time

from .. import overlay
from ..context import ModuleError
from . import cache, faults, locks, program, sources
from .asking import QUERY_DEADLINE, Asking

UPDATE_DEADLINE = 1800  # seconds for fetching all package lists


class Apt(Asking):
    """apt-get and dpkg with one task's options."""

    def __init__(self, ctx, args):
        super().__init__(ctx, args)
        self.environment = program.environment(ctx.environment)
        self.unknown = ""  # why the simulation could not be had, in check mode before a first update

    def configure(self):
        """Let dpkg finish what it has unpacked -> its Outcome."""
        self.ctx.progress("dpkg was interrupted earlier: dpkg --configure -a")
        return self.dpkg(["--configure", "-a"])

    def dpkg(self, words):
        """Run dpkg without questions -> its Outcome."""
        self.require_root("let dpkg finish an interrupted run")
        self.wait_for_locks(time.time() + self.args["lock_timeout"])
        argv = ["dpkg"] + self.conffile_options() + list(words)
        return program.run(argv, self.environment, self.ctx.progress, status=False)

    def name_in(self, path):
        """The name of the package in an archive, "" when it is none."""
        rc, stdout, _ = self.ctx.run(["dpkg-deb", "-f", path, "Package"], timeout=QUERY_DEADLINE)
        return stdout.strip() if rc == 0 else ""

    def fix_broken(self):
        """Let apt-get bring what is half installed into order -> its Outcome."""
        self.wait_for_locks(time.time() + self.args["lock_timeout"])
        self.ctx.progress("packages are half installed: apt-get -f install")
        return program.run(["apt-get", "-y", "-f"] + self._options() + ["install"], self.environment, self.ctx.progress)

    def refuse_patterns(self, needed):
        """Raise ModuleError for a name no package has, when apt-get would take it for a regular expression.

        Given `c.w`, apt-get install gets every package with a matching name: thousands.
        """
        for one in needed:
            if "." not in one.name and "+" not in one.name:
                continue
            argv = ["apt-cache", "-o", "APT::Cache::AllNames=yes", "pkgnames", one.name]
            rc, stdout, _ = self.ctx.run(argv, timeout=QUERY_DEADLINE)
            if rc == 0 and one.name not in stdout.split() and not self._excused([one.text]):
                self.fail("", argv, program.Outcome(100, "", "E: Unable to locate package %s" % one.name))

    def _excused(self, names):
        """In check mode, names that the lists do not have may be in those that would be fetched."""
        picture = overlay.active()
        if picture is not None and (self.args["update_cache"] or picture.lists_fetched or picture.unsure):
            self.unknown = "the lists on the board do not have %s; they would be updated first" % ", ".join(names)
        return bool(self.unknown)

    def simulate(self, command, needed):
        """What apt-get prints when it only pretends; "" when it does not know the packages but may be excused."""
        argv = ["apt-get", "-s", "-y", "-o", "Debug::NoLocking=1"] + self._options() + list(command)
        done = program.run(argv, self.environment, self.ctx.progress, deadline=600)
        if done.rc == 0:
            return done.stdout
        if faults.is_interrupted(done.output) and not self.ctx.check:
            self.configure()
            done = program.run(argv, self.environment, self.ctx.progress, deadline=600)
            if done.rc == 0:
                return done.stdout
        if faults.missing_packages(done.output) and self._excused([one.text for one in needed]):
            return ""
        if self.ctx.check and faults.is_interrupted(done.output):
            self.unknown = "dpkg was interrupted earlier: a real run would let it finish first"
            return ""
        self.fail("", argv, done)
        return ""

    def run(self, command):
        """Run apt-get for real and return its Outcome. Raises ModuleError when it fails or the locks stay held."""
        argv = ["apt-get", "-y"] + self._options() + list(command)
        deadline = time.time() + self.args["lock_timeout"]
        repaired = False
        while True:
            self.wait_for_locks(deadline)
            done = program.run(argv, self.environment, self.ctx.progress)
            if done.rc == 0:
                return done
            if faults.is_lock_fault(done.output) and time.time() < deadline:
                continue  # somebody was quicker between the look at the locks and apt-get
            if faults.is_interrupted(done.output) and not repaired:
                repaired = True
                self.configure()
                continue
            self.fail("", argv, done)

    def update(self, attempts):
        """Fetch the package lists, `attempts` times at most. Raises ModuleError that names the mirror."""
        argv = ["apt-get"] + program.NETWORK_OPTIONS + ["update"]
        deadline = time.time() + self.args["lock_timeout"]
        while True:
            self.wait_for_locks(deadline)
            done = program.run(argv, self.environment, self.ctx.progress, deadline=UPDATE_DEADLINE)
            # apt-get ends with 0 although a mirror failed, when older lists can stand in.
            if done.rc == 0 and not faults.failed_fetches(done.output):
                cache.touch()
                return
            if faults.is_lock_fault(done.output) and time.time() < deadline:
                continue
            attempts -= 1
            if attempts <= 0:
                self.fail("the package lists could not be updated: ", argv, done)

    def conffile_options(self):
        """What dpkg is told about changed configuration files."""
        names = [name.strip().lstrip("-") for name in (self.args["dpkg_options"] or "").split(",")]
        return ["--" + name for name in names if name]

    def _options(self):
        args = self.args
        options = list(program.NETWORK_OPTIONS)
        for option in self.conffile_options():
            options += ["-o", "Dpkg::Options::=" + option]
        if args["install_recommends"] is not None:
            options += ["-o", "APT::Install-Recommends=" + ("yes" if args["install_recommends"] else "no")]
        if args["default_release"]:
            options += ["-t", args["default_release"]]
        if args["allow_downgrade"]:
            options.append("--allow-downgrades")
        if args["allow_change_held_packages"]:
            options.append("--allow-change-held-packages")
        return options

    def wait_for_locks(self, deadline):
        """Wait until no other package manager runs. Raises ModuleError with its name at `deadline` (time.time())."""
        problem = locks.wait(deadline, self.ctx.progress)
        if problem:
            waited = "; waited %d s (lock_timeout) for it to end" % self.args["lock_timeout"]
            raise ModuleError(problem + waited)

    def fail(self, prefix, argv, done):
        """Raise the ModuleError that explains a program's failure."""
        if done.stopped == "stall":
            silent = faults.unanswered(sources.read(), done.stdout)
            message = "nothing came from the package mirror for %d s: %s" % (
                program.STALL,
                faults.hide_credentials(silent),
            )
        elif done.stopped:
            message = "%s did not finish in time and was stopped" % argv[0]
        else:
            message = faults.explain(done.output, sources.read(), bool(cache.list_files()))
        raise ModuleError(
            prefix + message,
            rc=done.rc,
            stdout=faults.hide_credentials(done.stdout),
            stderr=faults.hide_credentials(done.stderr),
        )
