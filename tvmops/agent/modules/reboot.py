"""reboot: restart the board and wait until it is back. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {
    "pre_reboot_delay": {"type": "int", "default": 0, "aliases": ["pre_reboot_delay_sec"]},
    "post_reboot_delay": {"type": "int", "default": 0, "aliases": ["post_reboot_delay_sec"]},
    "reboot_timeout": {"type": "int", "default": 600, "aliases": ["reboot_timeout_sec"]},
    "connect_timeout": {"type": "int", "aliases": ["connect_timeout_sec"]},
    "test_command": {"type": "str", "default": "whoami"},
    "msg": {"type": "str", "default": "Reboot initiated by tvmops"},
    "search_paths": {
        "type": "list",
        "elements": "str",
        "default": ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"],
    },
    "boot_time_command": {"type": "str"},
    "reboot_command": {"type": "str"},
}
EXAMPLE = {"msg": "new kernel", "reboot_timeout": 300}
