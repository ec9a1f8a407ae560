"""_boot: which boot of the board this is, and a restart, for the controller's reboot."""

import os
import shlex
import subprocess
import tempfile
import time

from ..context import ModuleError

SPEC = {
    "action": {"type": "str", "choices": ["look", "reboot"], "default": "look"},
    "boot_time_command": {"type": "str"},
    "test_command": {"type": "str"},
    "reboot_command": {"type": "str"},
    "search_paths": {
        "type": "list",
        "elements": "str",
        "default": ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"],
    },
    "pre_reboot_delay": {"type": "int", "default": 0},
    "msg": {"type": "str", "default": "Reboot initiated by tvmops"},
}
CHECK = "skip"
SHELL = "/bin/sh"
DEADLINE = 60  # seconds for the commands that only look
REFUSAL = 3.0  # seconds within which a reboot command that fails has failed
POLL = 0.05  # seconds


def act(ctx, args):
    """Look: `boot` (a text that another boot has not) and `uptime`. Reboot: the same, then begin to restart."""
    outcome = {"changed": False, "boot": _boot(ctx, args), "uptime": _uptime()}
    if args["action"] == "reboot":
        outcome["command"] = _reboot_line(args)
        _start(ctx, outcome["command"])
        outcome["changed"] = True
    elif args["test_command"] is not None:
        rc, stdout, stderr = ctx.run([SHELL, "-c", args["test_command"]], timeout=DEADLINE)
        outcome["test"] = {"rc": rc, "stdout": stdout, "stderr": stderr}
    return outcome


def _boot(ctx, args):
    if args["boot_time_command"] is None:
        with open("/proc/sys/kernel/random/boot_id") as source:
            return source.read().strip()
    rc, stdout, stderr = ctx.run([SHELL, "-c", args["boot_time_command"]], timeout=DEADLINE)
    if rc != 0:
        raise ModuleError("boot_time_command failed: %s" % (stderr.strip() or "exit code %d" % rc), rc=rc)
    return stdout.strip()


def _uptime():
    with open("/proc/uptime") as source:
        return float(source.read().split()[0])


def _reboot_line(args):
    """The shell command that restarts the board."""
    if args["reboot_command"] is not None:
        name, _, rest = args["reboot_command"].strip().partition(" ")
        return (shlex.quote(_found(name, args["search_paths"])) + " " + rest).strip()
    try:
        program = _found("shutdown", args["search_paths"])
    except ModuleError:
        return shlex.quote(_found("reboot", args["search_paths"]))  # as on a system without the larger half of init
    minutes = max(0, args["pre_reboot_delay"]) // 60
    return "%s -r +%d %s" % (shlex.quote(program), minutes, shlex.quote(args["msg"]))


def _found(name, folders):
    if name.startswith("/"):
        return name
    for folder in folders:
        path = os.path.join(folder, name)
        if name and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise ModuleError("there is no command %r in %s" % (name, ", ".join(folders)))


def _start(ctx, line):
    """Run the line in a session of its own, which outlives the agent. Raises ModuleError when it fails at once."""
    with tempfile.TemporaryFile(dir=ctx.tmpdir) as output, open(os.devnull) as nothing:
        child = subprocess.Popen(
            [SHELL, "-c", line], stdin=nothing, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
        end = time.monotonic() + REFUSAL
        while child.poll() is None and time.monotonic() < end:
            time.sleep(POLL)
        # A negative status is the signal of a system that goes down already.
        if child.returncode is not None and child.returncode > 0:
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip()
            raise ModuleError("the reboot command failed: %s" % (said or child.returncode), rc=child.returncode)
