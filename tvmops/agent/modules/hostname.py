"""hostname: the board's name, for the kernel now and in /etc/hostname for later boots."""

import os
import re
import socket

from .. import files, systemd
from ..context import ModuleError
from ..facts.platform import canonical_name

SPEC = {
    "name": {"type": "str", "required": True},
    "use": {"type": "str", "choices": ["alpine", "debian", "generic", "systemd"]},
}
EXAMPLE = {"name": "jetson-3"}
FILE = "/etc/hostname"
LONGEST = 64  # characters, the kernel's limit
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
DEADLINE = 60  # seconds for hostnamectl, which may have to start a service first


def inspect(ctx, args):
    """The names as they are, and as they should be."""
    name = args["name"]
    if len(name) > LONGEST or not NAME.match(name):
        raise ModuleError(
            "%r is no host name: up to %d letters, digits, dots and hyphens, a letter or digit at both ends"
            % (name, LONGEST)
        )
    before = {"hostname": os.uname()[1], "permanent": permanent()}
    return before, {"hostname": name, "permanent": name}


def apply(ctx, args, before, after):
    """First the file, as network managers wish it, then the kernel; systemd's own service hears of it too."""
    if os.geteuid() != 0:
        raise ModuleError("only root can change the host name: add `become: true`")
    predict(ctx, args, before, after)
    program = None if args["use"] == "alpine" or not systemd.is_booted() else ctx.which("hostnamectl")
    if program is not None:
        rc, _, stderr = ctx.run([program, "--no-ask-password", "set-hostname", args["name"]], timeout=DEADLINE)
        if rc != 0 and args["use"] == "systemd":
            raise ModuleError("hostnamectl failed: %s" % (stderr.strip() or "exit code %d" % rc), rc=rc)
    elif args["use"] == "systemd":
        raise ModuleError("use: systemd needs a running systemd with hostnamectl (PID 1 is %s)" % systemd.init_name())
    if os.uname()[1] != args["name"]:
        socket.sethostname(args["name"])
    return {"_undo": [{"kind": "hostname", "text": "%s, was %s" % (args["name"], before["hostname"])}]}


def predict(ctx, args, before, after):
    """What happens to files."""
    if before["permanent"] != after["permanent"]:
        files.write_bytes(FILE, args["name"].encode() + b"\n", mode=0o644)
    return {}


def result(ctx, args, after):
    """The facts that have changed with the name."""
    name = args["name"]
    hosts = files.read("/etc/hosts").decode("utf-8", "replace") if files.is_file("/etc/hosts") else ""
    fqdn = canonical_name(name, hosts)
    facts = {"ansible_hostname": name.split(".")[0], "ansible_nodename": name}
    facts.update(ansible_fqdn=fqdn, ansible_domain=fqdn.partition(".")[2])
    return {"name": name, "ansible_facts": facts}


def permanent():
    """The name in /etc/hostname, "" when there is none (hostname(5): lines that start with # are comments)."""
    if not files.is_file(FILE):
        return ""
    for line in files.read(FILE).decode("utf-8", "replace").splitlines():
        if line.strip() and not line.startswith("#"):
            return line.strip()
    return ""
