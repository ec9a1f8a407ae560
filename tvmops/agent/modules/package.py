"""package: install and remove packages with the board's own package manager."""

from ..context import ModuleError
from . import apt

SPEC = {
    "name": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "latest"], "required": True},
    "use": {"type": "str", "choices": ["auto", "apt"], "default": "auto"},
}
CHECK = "run"
prepare = apt.prepare


def act(ctx, args):
    """Hand the task to apt. Raises ModuleError on boards without it."""
    if not ctx.which("apt-get"):
        raise ModuleError("this board has no apt-get, and apt is the only package manager that `package` knows")
    full = {key: option.get("default") for key, option in apt.SPEC.items()}
    full["name"] = args["name"]
    full["state"] = args["state"]
    return apt.act(ctx, full)
