"""systemd_service: start, stop, enable or mask a systemd unit."""

import glob
import os
import time

from .. import files, overlay
from ..context import ModuleError
from ..systemd import ENABLED, RUNNING, Manager

SPEC = {
    "name": {"type": "str", "aliases": ["service", "unit"]},
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "reloaded"]},
    "enabled": {"type": "bool"},
    "masked": {"type": "bool"},
    "daemon_reload": {"type": "bool", "default": False, "aliases": ["daemon-reload"]},
    "daemon_reexec": {"type": "bool", "default": False, "aliases": ["daemon-reexec"]},
    "no_block": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
}
RULES = {
    "required_one_of": [["name", "daemon_reload", "daemon_reexec"]],
}
CHECK = "run"
PREDICTS = True
UNIT_TYPES = ("service", "socket", "timer", "mount", "target", "path", "slice", "automount", "swap", "device", "scope")
UNIT_DIRECTORIES = {
    "system": (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
    ),
    "user": ("~/.config/systemd/user", "/etc/systemd/user", "/usr/lib/systemd/user"),
}
SETTLE = 0.1  # seconds after a start before looking whether the program stayed up


def act(ctx, args):
    """Reload the manager, then mask, enable and start as asked, each only where it differs from what is."""
    flags = (["--no-block"] if args["no_block"] else []) + (["--force"] if args["force"] else [])
    manager = Manager(ctx, args["scope"], flags)
    for key, verb in (("daemon_reload", "daemon-reload"), ("daemon_reexec", "daemon-reexec")):
        if args[key] and not ctx.check:
            Manager(ctx, args["scope"]).change(verb)
    name = args["name"]
    outcome = {"changed": False, "name": name, "status": {}}
    if not name:
        if any(args[key] is not None for key in ("state", "enabled", "masked")):
            raise ModuleError("systemd_service needs the argument 'name' for state, enabled and masked")
        return outcome
    if any(letter in name for letter in "*?["):
        raise ModuleError("%s: patterns are not supported, name one unit" % name)
    steps = _Steps(ctx, args, manager, outcome)
    if steps.exists():
        steps.mask()
        steps.enable()
        steps.run_state()
    if ctx.diff and steps.differences:
        outcome["diff"] = [_diff(name, steps.differences)]
    return outcome


def _diff(name, differences):
    def text(index):
        return "".join("%s: %s\n" % (key, values[index]) for key, values in sorted(differences.items()))

    return {"before_header": name, "after_header": name, "before": text(0), "after": text(1)}


class _Steps:
    """One unit's way to what the task asks for. `differences`: {what: (before, after)}."""

    def __init__(self, ctx, args, manager, outcome):
        self.ctx = ctx
        self.args = args
        self.manager = manager
        self.outcome = outcome
        self.name = args["name"]
        self.differences = {}
        self.status = manager.show(self.name)
        if overlay.active() is not None:
            self._predict_status()
        outcome["status"] = self.status
        if self.status.get("NeedDaemonReload") == "yes" and not ctx.check:
            outcome["warnings"] = [
                "the files of %s changed since systemd read them: set daemon_reload: true" % self.name
            ]

    def _predict_status(self):
        """In check mode: the unit as earlier tasks would have left it."""
        if self.status["LoadState"] == "not-found":
            path = unit_file(self.name, self.args["scope"])
            if path is not None:
                self.status.update(LoadState="loaded", ActiveState="inactive", UnitFileState="disabled")
                try:
                    if b"[Install]" not in files.read(path):
                        self.status["UnitFileState"] = "static"
                except files.Unknown:
                    pass
        self.status.update(overlay.active().units.get(self.name, {}))

    def exists(self):
        """False in check mode for a unit that is not there (yet); otherwise a missing unit is a ModuleError."""
        load = self.status["LoadState"]
        if load == "not-found":
            wants_present = self.args["state"] != "stopped" or self.args["enabled"]
            if overlay.unsure() and wants_present:
                self.outcome["changed"] = True
                self.outcome["msg"] = "there is no unit %s yet; an earlier task may bring it" % self.name
                return False
            if self.args["masked"] and self.args["state"] is None and self.args["enabled"] is None:
                return True
            raise ModuleError("there is no unit %s on the board" % self.name)
        if load in ("error", "bad-setting"):
            raise ModuleError("the unit file of %s is wrong: %s" % (self.name, self.status.get("LoadError") or load))
        return True

    def mask(self):
        """Mask or unmask."""
        if self.args["masked"] is None:
            return
        masked = "masked" in (self.status["LoadState"], self.status.get("UnitFileState"))
        if masked != self.args["masked"]:
            self._change("mask" if self.args["masked"] else "unmask", "masked", masked, self.args["masked"])
            self._predict(LoadState="masked" if self.args["masked"] else "loaded")
            if not self.ctx.check:
                self.status = self.outcome["status"] = self.manager.show(self.name)

    def enable(self):
        """Enable or disable. A static unit has nothing to enable, so it never differs."""
        if self.args["enabled"] is None:
            return
        state = self.status.get("UnitFileState", "")
        enabled = state in ENABLED
        if state == "generated":
            enabled = _sysv_enabled(self.name)
        elif state == "enabled-runtime" and self.args["enabled"]:
            enabled = False  # until the next boot only
        if enabled != self.args["enabled"] and not (state in ("static", "transient") and not self.args["enabled"]):
            self._change("enable" if self.args["enabled"] else "disable", "enabled", enabled, self.args["enabled"])
            self._predict(UnitFileState="enabled" if self.args["enabled"] else "disabled")
        self.outcome["enabled"] = self.args["enabled"]

    def run_state(self):
        """Start, stop, restart or reload."""
        wanted = self.args["state"]
        if wanted is None:
            return
        self.outcome["state"] = wanted if wanted == "stopped" else "started"
        active = self.status["ActiveState"]
        running = active in RUNNING
        verb = None
        if wanted == "started" and not running:
            verb = "start"
        elif wanted == "stopped" and (running or active == "deactivating"):
            verb = "stop"
        elif wanted in ("restarted", "reloaded"):
            verb = {"restarted": "restart", "reloaded": "reload"}[wanted] if running else "start"
        if verb is None:
            return
        if self.status["LoadState"] == "masked" and verb != "stop" and not self.ctx.check:
            raise ModuleError("%s is masked: set masked: false to be able to start it" % self.name)
        self._change(verb, "state", active, wanted)
        self._predict(ActiveState="inactive" if verb == "stop" else "active")
        if not self.ctx.check and not self.args["no_block"]:
            self._look_again(verb)

    def _look_again(self, verb):
        """A program that dies right after its start has started for systemd, but not for the user."""
        if verb in ("start", "restart") and self.status.get("Type") in ("simple", "exec", "idle"):
            time.sleep(SETTLE)
        before = self.status.get("NRestarts", "0")
        self.status = self.outcome["status"] = self.manager.show(self.name)
        # systemd counts restarts anew after a start that was asked for, unless the unit was about to be restarted then.
        restarted = self.status.get("NRestarts", "0") not in ("", "0", before)
        dying = restarted or self.status["ActiveState"] == "failed" or self.status.get("SubState") == "auto-restart"
        if verb != "stop" and dying:
            raise ModuleError(
                "%s started but ended at once (%s, status %s)%s"
                % (
                    self.name,
                    self.status.get("Result", "failed"),
                    self.status.get("ExecMainStatus", "unknown"),
                    self.manager.journal_text(self.name),
                ),
                status=self.status,
            )

    def _predict(self, **properties):
        if overlay.active() is not None:
            overlay.active().units.setdefault(self.name, {}).update(properties)

    def _change(self, verb, what, before, after):
        self.outcome["changed"] = True
        note = {"kind": "service", "text": "%s: systemctl %s" % (self.name, verb), "was": before}
        self.outcome.setdefault("_undo", []).append(note)
        self.differences[what] = (before, after)
        if not self.ctx.check:
            self.ctx.progress("systemctl %s %s" % (verb, self.name))
            self.manager.change(verb, self.name)


def unit_file(name, scope="system"):
    """The file that defines a unit, None when there is none; "a@b.service" is defined by "a@.service"."""
    name = name if name.rpartition(".")[2] in UNIT_TYPES else name + ".service"
    stem, at, rest = name.partition("@")
    names = [name] + ([stem + at + "." + rest.rpartition(".")[2]] if at else [])
    for directory in UNIT_DIRECTORIES[scope]:
        for one in names:
            path = os.path.join(os.path.expanduser(directory), one)
            if files.exists(path):
                return path
    return None


def _sysv_enabled(name):
    base = name[: -len(".service")] if name.endswith(".service") else name
    return bool(glob.glob("/etc/rc[2-5].d/S[0-9][0-9]" + glob.escape(base)))
