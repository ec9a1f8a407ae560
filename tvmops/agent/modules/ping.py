"""ping: show that the board can be reached and that its agent answers."""

from ..context import ModuleError

SPEC = {"data": {"type": "str", "default": "pong"}}
EXAMPLE = {}
CHECK = "run"


def act(ctx, args):
    """Answer with `data`. As Ansible's, data: crash fails the task."""
    if args["data"] == "crash":
        raise ModuleError("ping was asked to fail (data: crash)")
    return {"changed": False, "ping": args["data"]}
