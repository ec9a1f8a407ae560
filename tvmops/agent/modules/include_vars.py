"""include_vars: read variables from a file or a folder while the play runs. Runs on the controller."""

RUNS_ON = "controller"
FREE_FORM = True
SPEC = {
    "file": {"type": "path"},
    "dir": {"type": "path"},
    "name": {"type": "str"},
    "depth": {"type": "int", "default": 0},
    "extensions": {"type": "list", "elements": "str", "default": ["yaml", "yml", "json"]},
    "files_matching": {"type": "str"},
    "ignore_files": {"type": "list", "elements": "str"},
    "ignore_unknown_extensions": {"type": "bool", "default": False},
    "hash_behaviour": {"type": "str", "choices": ["replace", "merge"]},
}
RULES = {
    "required_one_of": [["_raw_params", "file", "dir"]],
    "mutually_exclusive": [["_raw_params", "file", "dir"]],
}
EXAMPLE = {"file": "boards/{{ ansible_architecture }}.yml", "name": "board"}
