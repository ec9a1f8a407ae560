"""meta: steer the run itself, such as flush_handlers or end_host. Runs on the controller."""

RUNS_ON = "controller"
FREE_FORM = True
SPEC = {
    "_raw_params": {
        "type": "str",
        "required": True,
        "choices": [
            "clear_facts",
            "clear_host_errors",
            "end_batch",
            "end_host",
            "end_play",
            "end_role",
            "flush_handlers",
            "noop",
            "refresh_inventory",
            "reset_connection",
        ],
    },
}
EXAMPLE = {"_raw_params": "flush_handlers"}
