"""raw: run a command through the login shell, without the agent and without Python. Runs on the controller."""

RUNS_ON = "controller"
FREE_FORM = True
SPEC = {"executable": {"type": "str"}}
RULES = {"required_one_of": [["_raw_params"]]}
EXAMPLE = {"_raw_params": "apt-get install -y python3-minimal"}
