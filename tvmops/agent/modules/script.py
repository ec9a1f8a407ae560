"""script: run a program of the controller on the board. Runs on the controller, which sends it."""

RUNS_ON = "controller"
FREE_FORM = True
SPEC = {
    "cmd": {"type": "str"},
    "chdir": {"type": "path"},
    "creates": {"type": "path"},
    "removes": {"type": "path"},
    "executable": {"type": "str"},
    "decrypt": {"type": "bool", "default": True},
}
RULES = {
    "required_one_of": [["_raw_params", "cmd"]],
    "mutually_exclusive": [["_raw_params", "cmd"]],
}
EXAMPLE = {"_raw_params": "scripts/calibrate.sh --quick", "creates": "/var/lib/calibrated"}
