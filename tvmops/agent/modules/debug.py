"""debug: print a message or a variable. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {
    "msg": {"type": "raw"},
    "var": {"type": "str"},
    "verbosity": {"type": "int", "default": 0},
}
RULES = {"mutually_exclusive": [["msg", "var"]]}
EXAMPLE = {"msg": "the board runs {{ ansible_distribution }}"}
