"""group_by: put the host into a group that is made from its facts. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {
    "key": {"type": "str", "required": True},
    "parents": {"type": "list", "elements": "str", "default": ["all"]},
}
EXAMPLE = {"key": "arch_{{ ansible_architecture }}"}
