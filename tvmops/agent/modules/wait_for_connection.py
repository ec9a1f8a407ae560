"""wait_for_connection: wait until the board can be reached. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {
    "connect_timeout": {"type": "int", "default": 5},
    "delay": {"type": "int", "default": 0},
    "sleep": {"type": "int", "default": 1},
    "timeout": {"type": "int", "default": 600},
}
EXAMPLE = {"delay": 5, "timeout": 300}
