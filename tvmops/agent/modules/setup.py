"""setup: gather facts about the board."""

from .. import facts
from ..context import ModuleError
from ..facts.board import Board

SPEC = {
    "gather_subset": {"type": "list", "elements": "str", "default": ["all"]},
    "gather_timeout": {"type": "int", "default": 10},  # each look has its own, shorter, deadline
    "filter": {"type": "list", "elements": "str", "default": []},
    "fact_path": {"type": "path", "default": "/etc/ansible/facts.d"},
}
EXAMPLE = {"gather_subset": ["!all"], "filter": ["ansible_distribution*"]}
CHECK = "run"


def act(_ctx, args):
    """Everything in this one process: no network, no waiting."""
    try:
        found = facts.gather(Board(), args["gather_subset"], args["fact_path"])
    except ValueError as error:
        raise ModuleError(str(error))
    return {"changed": False, "ansible_facts": facts.select(found, args["filter"])}
