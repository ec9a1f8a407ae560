"""conditions: the clocks, temperatures, load and throttling that a measurement is judged by."""

from .. import conditions
from ..facts.board import Board

SPEC = {"sample": {"type": "float", "default": conditions.SAMPLE}}  # seconds over which CPU users are watched
EXAMPLE = {"sample": 0.05}
CHECK = "run"


def act(_ctx, args):
    """Look, and look again at the processes after `sample` seconds (5 at most)."""
    return {"changed": False, "conditions": conditions.collect(Board(), min(5.0, max(0.0, args["sample"])))}
