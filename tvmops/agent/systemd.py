"""Talking to systemd: one `systemctl show` for what is, one command for each change."""

import os

from .context import ModuleError

RUNNING = ("active", "activating", "reloading", "refreshing")
ENABLED = ("enabled", "enabled-runtime", "static", "generated", "linked", "linked-runtime")
DEADLINE = 300  # seconds for starting or stopping a unit; systemd's own default is 90
QUERY_DEADLINE = 60  # seconds
JOURNAL_LINES = 20
PROPERTIES = (
    "Id,Names,Description,Type,LoadState,LoadError,ActiveState,SubState,Result,UnitFileState,UnitFilePreset,FragmentPath,"
    "DropInPaths,NeedDaemonReload,MainPID,ExecMainStatus,ExecMainCode,NRestarts,ActiveEnterTimestamp,Transient,User,TriggeredBy"
)


def is_booted(root="/"):
    """True when systemd is the board's PID 1 (sd_booted(3))."""
    return os.path.isdir(os.path.join(root, "run/systemd/system"))


def init_name(root="/"):
    """What PID 1 is called, or "unknown"."""
    try:
        with open(os.path.join(root, "proc/1/comm")) as stream:
            return stream.read().strip() or "unknown"
    except (IOError, OSError):
        return "unknown"


def parse_show(text):
    """`systemctl show` output as a dict; lines that are no `Name=value` continue the value before."""
    values = {}
    last = None
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.isalnum():
            values[name] = value
            last = name
        elif last is not None:
            values[last] += "\n" + line
    return values


class Manager:
    """systemd's system manager, or one user's."""

    def __init__(self, ctx, scope="system", flags=()):
        self.ctx = ctx
        self.scope = scope
        self.flags = list(flags)
        self.program = ctx.which("systemctl")
        self.environment = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
        if self.program is None or not is_booted():
            message = "systemd does not run on this board (PID 1 is %s); the module service works with sysv init, too"
            raise ModuleError(message % init_name())
        if scope == "user" and "XDG_RUNTIME_DIR" not in os.environ:
            self.environment["XDG_RUNTIME_DIR"] = "/run/user/%d" % os.geteuid()

    def call(self, verb, *words, **options):
        """Run systemctl -> (rc, stdout, stderr). `timeout` in seconds."""
        argv = [self.program] + (["--user"] if self.scope == "user" else []) + [verb] + self.flags + list(words)
        return self.ctx.run(argv, timeout=options.get("timeout", QUERY_DEADLINE), env=self.environment)

    def show(self, unit):
        """The unit's properties. Raises ModuleError when systemd does not answer."""
        rc, stdout, stderr = self.call("show", "--no-pager", "-p", PROPERTIES, "--", unit)
        status = parse_show(stdout)
        if "LoadState" not in status:
            raise ModuleError("systemd does not answer about %s: %s" % (unit, stderr.strip() or "exit code %d" % rc))
        return status

    def change(self, verb, unit=None):
        """Run `systemctl VERB [UNIT]`. Raises ModuleError with the journal's last lines when it fails."""
        if self.scope == "system" and os.geteuid() != 0:
            raise ModuleError("only root can %s system services: add `become: true`" % verb)
        words = ["--", unit] if unit else []
        try:
            rc, stdout, stderr = self.call(verb, *words, timeout=DEADLINE)
        except ModuleError as error:
            if unit:
                error.msg += self.journal_text(unit)
            raise
        if rc != 0:
            reason = (stderr.strip() or stdout.strip() or "exit code %d" % rc).splitlines()[0]
            journal = self.journal_text(unit) if unit and verb in ("start", "restart", "reload", "stop") else ""
            raise ModuleError(
                "systemctl %s%s failed: %s%s" % (verb, " " + unit if unit else "", reason, journal),
                rc=rc,
                stdout=stdout,
                stderr=stderr,
            )

    def journal_text(self, unit):
        """The unit's last journal lines, ready to be added to a message."""
        if not self.ctx.which("journalctl"):
            return ""
        option = "--user-unit" if self.scope == "user" else "--unit"
        argv = ["journalctl", option, unit, "-n", str(JOURNAL_LINES), "--no-pager", "-o", "short", "-q"]
        try:
            rc, stdout, _ = self.ctx.run(argv, timeout=QUERY_DEADLINE, env=self.environment)
        except ModuleError:
            return ""
        return "\nits journal ends:\n" + stdout.rstrip() if rc == 0 and stdout.strip() else ""
