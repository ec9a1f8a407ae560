"""fail: fail the task with a message. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {"msg": {"type": "str", "default": "Failed as requested from task"}}
EXAMPLE = {"msg": "this board has no OpenCL"}
