"""The modules: one file each. MODULES says which names a playbook may use and which file answers to them."""

import importlib

# Every accepted name -> the Python module in this package. A module with RUNS_ON = "controller" is only
# described here (its SPEC); the playbook engine carries it out.
MODULES = {
    "add_host": "add_host",
    "ansible.builtin.add_host": "add_host",
    "apt": "apt",
    "ansible.builtin.apt": "apt",
    "assert": "assert_",
    "ansible.builtin.assert": "assert_",
    "blockinfile": "blockinfile",
    "ansible.builtin.blockinfile": "blockinfile",
    "command": "command",
    "ansible.builtin.command": "command",
    "conditions": "conditions",
    "copy": "copy",
    "ansible.builtin.copy": "copy",
    "debug": "debug",
    "ansible.builtin.debug": "debug",
    "fail": "fail",
    "ansible.builtin.fail": "fail",
    "fetch": "fetch",
    "ansible.builtin.fetch": "fetch",
    "file": "file",
    "ansible.builtin.file": "file",
    "find": "find",
    "ansible.builtin.find": "find",
    "get_url": "get_url",
    "ansible.builtin.get_url": "get_url",
    "group": "group",
    "ansible.builtin.group": "group",
    "group_by": "group_by",
    "ansible.builtin.group_by": "group_by",
    "include_vars": "include_vars",
    "ansible.builtin.include_vars": "include_vars",
    "lineinfile": "lineinfile",
    "ansible.builtin.lineinfile": "lineinfile",
    "meta": "meta",
    "ansible.builtin.meta": "meta",
    "package": "package",
    "ansible.builtin.package": "package",
    "pause": "pause",
    "ansible.builtin.pause": "pause",
    "ping": "ping",
    "ansible.builtin.ping": "ping",
    "pip": "pip",
    "ansible.builtin.pip": "pip",
    "raw": "raw",
    "ansible.builtin.raw": "raw",
    "reboot": "reboot",
    "ansible.builtin.reboot": "reboot",
    "replace": "replace",
    "ansible.builtin.replace": "replace",
    "script": "script",
    "ansible.builtin.script": "script",
    "service": "service",
    "ansible.builtin.service": "service",
    "set_fact": "set_fact",
    "ansible.builtin.set_fact": "set_fact",
    "setup": "setup",
    "ansible.builtin.setup": "setup",
    "shell": "shell",
    "ansible.builtin.shell": "shell",
    "slurp": "slurp",
    "ansible.builtin.slurp": "slurp",
    "stat": "stat",
    "ansible.builtin.stat": "stat",
    "systemd": "systemd_service",
    "ansible.builtin.systemd": "systemd_service",
    "systemd_service": "systemd_service",
    "ansible.builtin.systemd_service": "systemd_service",
    "tempfile": "tempfile",
    "ansible.builtin.tempfile": "tempfile",
    "template": "template",
    "ansible.builtin.template": "template",
    "unarchive": "unarchive",
    "ansible.builtin.unarchive": "unarchive",
    "user": "user",
    "ansible.builtin.user": "user",
    "wait_for": "wait_for",
    "ansible.builtin.wait_for": "wait_for",
    "wait_for_connection": "wait_for_connection",
    "ansible.builtin.wait_for_connection": "wait_for_connection",
}

# What only the controller may ask for, on behalf of its own modules (fetch, script, reboot).
INTERNAL = {
    "_boot": "_boot",
    "_read_piece": "_read_piece",
    "_script": "_script",
}


def load(name):
    """The Python module for an accepted name. Raises KeyError for any other name."""
    return importlib.import_module("." + (INTERNAL.get(name) or MODULES[name]), __name__)


def runs_on_controller(name):
    """True for modules that the playbook engine carries out itself (debug, set_fact, pause, fetch, ...)."""
    return getattr(load(name), "RUNS_ON", "board") == "controller"
