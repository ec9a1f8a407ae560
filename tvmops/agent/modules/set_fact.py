"""set_fact: set variables of a host. Runs on the controller."""

RUNS_ON = "controller"
ANY_ARGUMENT = True  # every other argument is the name of a fact
SPEC = {"cacheable": {"type": "bool", "default": False}}
EXAMPLE = {"tvm_threads": 4}
