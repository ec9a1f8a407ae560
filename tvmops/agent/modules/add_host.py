"""add_host: add a host to the inventory of this run. Runs on the controller."""

RUNS_ON = "controller"
ANY_ARGUMENT = True  # every other argument is a variable of the new host
SPEC = {
    "name": {"type": "str", "required": True, "aliases": ["host", "hostname"]},
    "groups": {"type": "list", "elements": "str", "aliases": ["group", "groupname"]},
}
EXAMPLE = {"name": "192.0.2.7:2222", "groups": ["rpc_servers"], "tvm_threads": 4}
