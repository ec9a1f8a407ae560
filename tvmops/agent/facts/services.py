"""Init system, security modules, command line of the kernel, load, uptime."""

import os

INITS = {"procd": "openwrt_init", "runit-init": "runit", "svscan": "svc", "openrc-init": "openrc"}


def collect(board):
    """ansible_service_mgr, _selinux, _apparmor, _cmdline, _loadavg and _uptime_seconds."""
    facts = {
        "ansible_service_mgr": _service_manager(board),
        "ansible_apparmor": {"status": "enabled" if board.exists("sys/kernel/security/apparmor") else "disabled"},
        "ansible_selinux": {"status": "enabled" if board.exists("sys/fs/selinux/enforce") else "disabled"},
        "ansible_cmdline": _command_line(board.line("proc/cmdline")),
        "ansible_uptime_seconds": int(_float(board.line("proc/uptime").split(" ")[0])),
    }
    load = board.line("proc/loadavg").split()
    if len(load) >= 3:
        facts["ansible_loadavg"] = {"1m": _float(load[0]), "5m": _float(load[1]), "15m": _float(load[2])}
    return facts


def _service_manager(board):
    name = os.path.basename(board.line("proc/1/comm"))
    if name and name != "init" and not name.endswith("sh"):
        return INITS.get(name, name)
    if any(board.exists(path) for path in ("run/systemd/system", "dev/.run/systemd", "dev/.systemd")):
        return "systemd"
    if board.exists("sbin/openrc"):
        return "openrc"
    return "sysvinit" if board.exists("etc/init.d") else "service"


def _command_line(text):
    values = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        values[key] = value.strip('"') if equals else True
    return values


def _float(text):
    try:
        return float(text)
    except ValueError:
        return 0.0
