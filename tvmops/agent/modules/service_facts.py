"""service_facts: the services of the board, as the fact `services`."""

import os
import re

from .. import systemd

SPEC = {}
CHECK = "run"
EXAMPLE = {}
DEADLINE = 120  # seconds
BAD = ("not-found", "masked", "failed")
SYSV = re.compile(r"^\s*\[ ([+?-]) \]\s+(\S+)", re.MULTILINE)
LIST = ["--no-pager", "--no-legend", "--plain", "--full", "--type", "service", "--all"]
ENVIRONMENT = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}


def act(ctx, args):
    """Ask sysv init's `service` and systemd, whichever is there."""
    services, warnings = {}, []
    program = ctx.which("service")
    if program is not None and os.path.isdir("/etc/init.d"):
        rc, stdout, stderr = ctx.run([program, "--status-all"], timeout=DEADLINE, env=ENVIRONMENT)
        if rc != 0:
            warnings.append("service --status-all failed: %s" % (stderr.strip() or "exit code %d" % rc))
        services.update(from_service(stdout))
    program = ctx.which("systemctl")
    if program is not None and systemd.is_booted():
        services.update(_from_systemd(ctx, program, warnings))
    if not services:
        outcome = {"skipped": True, "msg": "no services were found: neither systemd nor sysv init answers"}
    else:
        outcome = {"ansible_facts": {"services": services}}
    return dict(outcome, warnings=warnings) if warnings else outcome


def from_service(text):
    """The services in the output of `service --status-all`; as Ansible, those that cannot tell (?) are left out."""
    found = {}
    for sign, name in SYSV.findall(text):
        if sign != "?":
            found[name] = {"name": name, "state": "running" if sign == "+" else "stopped", "source": "sysv"}
    return found


def _from_systemd(ctx, program, warnings):
    texts = {}
    for verb in ("list-units", "list-unit-files"):
        rc, texts[verb], stderr = ctx.run([program, verb] + LIST, timeout=DEADLINE, env=ENVIRONMENT)
        if rc != 0:
            warnings.append("systemctl %s failed: %s" % (verb, stderr.strip() or "exit code %d" % rc))
    files = unit_files(texts["list-unit-files"])
    services = from_units(texts["list-units"])
    states = _active_states(ctx, program, sorted(set(files) - set(services)))
    for name, status in files.items():
        if name not in services:
            state = states.get(name, "unknown")
            services[name] = {"name": name, "state": state, "status": status, "source": "systemd"}
        elif services[name]["status"] not in BAD:
            services[name]["status"] = status
    return services


def from_units(text):
    """The services in the output of `systemctl list-units`: a state, and the load or activity as status."""
    found = {}
    for line in text.splitlines():
        fields = line.split(None, 4)
        if len(fields) < 4 or not fields[0].endswith(".service"):
            continue
        bad = [one for one in BAD if one in fields[:4]]
        state = "running" if fields[3] == "running" else "stopped"
        status = bad[0] if bad else fields[2]
        found[fields[0]] = {"name": fields[0], "state": state, "status": status, "source": "systemd"}
    return found


def unit_files(text):
    """{name: status} of the output of `systemctl list-unit-files`."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) >= 2 and row[0].endswith(".service")}


def _active_states(ctx, program, names):
    """{name: ActiveState} of units that are not loaded. A template (x@.service) has none."""
    asked = [name for name in names if "@." not in name]
    if not asked:
        return {}
    argv = [program, "show", "--no-pager", "-p", "Names,Id,ActiveState", "--"] + asked
    _, stdout, _ = ctx.run(argv, timeout=DEADLINE, env=ENVIRONMENT)
    parts = [systemd.parse_show(part) for part in stdout.split("\n\n")]  # in the order of the names
    return {name: part.get("ActiveState") or "unknown" for name, part in zip(asked, parts)}  # noqa: B905
