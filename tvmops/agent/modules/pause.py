"""pause: wait for a while, or for a key. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {
    "seconds": {"type": "float"},
    "minutes": {"type": "float"},
    "prompt": {"type": "str"},
    "echo": {"type": "bool", "default": True},
}
RULES = {"mutually_exclusive": [["seconds", "minutes"]]}
EXAMPLE = {"seconds": 10, "prompt": "the fan needs a moment"}
