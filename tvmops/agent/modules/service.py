"""service: start, stop or enable a service, with systemd or with sysv init."""

import glob
import os
import time

from .. import systemd
from ..context import ModuleError
from . import systemd_service

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "reloaded"]},
    "enabled": {"type": "bool"},
    "sleep": {"type": "int", "default": 0},
}
RULES = {"required_one_of": [["state", "enabled"]]}
CHECK = "run"
DEADLINE = 300  # seconds for one init script


def act(ctx, args):
    """Hand over to systemd where it is PID 1, else use the board's init scripts."""
    if systemd.is_booted() and ctx.which("systemctl"):
        full = {key: option.get("default") for key, option in systemd_service.SPEC.items()}
        full.update((key, args[key]) for key in ("name", "state", "enabled"))
        return systemd_service.act(ctx, full)
    name = args["name"][: -len(".service")] if args["name"].endswith(".service") else args["name"]
    script = "/etc/init.d/" + name
    if "/" in name or not os.access(script, os.X_OK):
        raise ModuleError(
            "this board runs neither systemd (PID 1 is %s) nor an init script %s" % (systemd.init_name(), script)
        )
    outcome = {"changed": False, "name": name}
    _enable(ctx, args, name, outcome)
    _run_state(ctx, args, script, outcome)
    return outcome


def _enable(ctx, args, name, outcome):
    if args["enabled"] is None:
        return
    outcome["enabled"] = args["enabled"]
    if bool(glob.glob("/etc/rc[2-5].d/S[0-9][0-9]" + glob.escape(name))) == args["enabled"]:
        return
    outcome["changed"] = True
    if ctx.check:
        return
    if not ctx.which("update-rc.d"):
        raise ModuleError("this board has no update-rc.d to enable %s with" % name)
    if args["enabled"]:
        _call(ctx, ["update-rc.d", name, "defaults"])
        _call(ctx, ["update-rc.d", name, "enable"])
    else:
        _call(ctx, ["update-rc.d", name, "disable"])


def _run_state(ctx, args, script, outcome):
    wanted = args["state"]
    if wanted is None:
        return
    outcome["state"] = wanted if wanted == "stopped" else "started"
    running = ctx.run([script, "status"], timeout=DEADLINE, env={"LC_ALL": "C"})[0] == 0
    verb = None
    if wanted == "started" and not running:
        verb = "start"
    elif wanted == "stopped" and running:
        verb = "stop"
    elif wanted in ("restarted", "reloaded"):
        verb = {"restarted": "restart", "reloaded": "reload"}[wanted] if running else "start"
    if verb is None:
        return
    outcome["changed"] = True
    if ctx.check:
        return
    if verb == "restart" and args["sleep"]:
        _call(ctx, [script, "stop"])
        time.sleep(args["sleep"])
        verb = "start"
    _call(ctx, [script, verb])


def _call(ctx, argv):
    if os.geteuid() != 0:
        raise ModuleError("only root can change services: add `become: true`")
    program = ctx.which(argv[0]) or argv[0]
    rc, stdout, stderr = ctx.run([program] + argv[1:], timeout=DEADLINE, env={"LC_ALL": "C"})
    if rc != 0:
        reason = stderr.strip() or stdout.strip() or "exit code %d" % rc
        raise ModuleError("%s failed: %s" % (" ".join(argv), reason), rc=rc, stdout=stdout, stderr=stderr)
