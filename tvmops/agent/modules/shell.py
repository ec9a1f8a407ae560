"""shell: run a command line on the board through a shell."""

from ..context import ModuleError
from . import command

SPEC = {key: option for key, option in command.SPEC.items() if key not in ("argv", "expand_argument_vars")}
SPEC["executable"] = {"type": "path", "default": "/bin/sh"}
RULES = {"required_one_of": [["_raw_params", "cmd"]], "mutually_exclusive": [["_raw_params", "cmd"]]}
FREE_FORM = True
CHECK = "run"  # creates and removes decide also in check mode
EXAMPLE = {"cmd": "sort /etc/shells > /var/tmp/shells", "creates": "/var/tmp/shells"}


def act(ctx, args):
    """Run the command line unless `creates` or `removes` says that it need not run."""
    args = command.with_free_form(args)
    if not args["cmd"].strip():
        raise ModuleError("no command given", rc=256)
    return command.run(ctx, args, [args["executable"], "-c", args["cmd"]], args["cmd"])
