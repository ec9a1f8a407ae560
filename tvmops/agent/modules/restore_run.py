"""restore_run: undo the file changes of a run (what `tvmops restore` sends; not for playbooks)."""

import os

from .. import journal, restore
from ..context import ModuleError
from ..lease import state_directory

SPEC = {
    "run": {"type": "str"},
    "list": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "by": {"type": "str", "default": ""},
}
RULES = {"required_one_of": [["run", "list"]]}
CHECK = "run"
PREDICTS = True


def act(ctx, args):
    """List the runs that can be undone, or undo one."""
    folder = os.path.join(state_directory(), "runs")
    if args["list"]:
        return {"changed": False, "runs": restore.runs(folder)}
    if "/" in args["run"] or args["run"].startswith("."):
        raise ModuleError("%r is not the name of a run" % args["run"])
    if journal.active() is not None:
        journal.active().about["restores"] = args["run"]
    found = restore.Restoration(folder, args["run"], args["force"], ctx.diff)
    found.carry_out(args["by"], ctx.progress)
    if not ctx.check:
        found.remove_leftovers()
        found.write_markers(args["by"])
    outcome = {
        "changed": bool(found.undone),
        "undone": found.undone,
        "conflicts": found.conflicts,
        "lost": found.lost,
        "others": [restore.as_text(other) for other in found.others],
    }
    if found.diffs:
        outcome["diff"] = found.diffs
    return outcome
