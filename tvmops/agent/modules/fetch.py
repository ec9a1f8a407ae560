"""fetch: copy a file from the board to the controller. Runs on the controller, which asks for it piece by piece."""

RUNS_ON = "controller"
SPEC = {
    "src": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
    "flat": {"type": "bool", "default": False},
    "fail_on_missing": {"type": "bool", "default": True},
    "validate_checksum": {"type": "bool", "default": True},
}
EXAMPLE = {"src": "/var/log/rpc-server.log", "dest": "logs/{{ inventory_hostname }}.log", "flat": True}
