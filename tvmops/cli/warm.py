"""The command `warm`: connections that are kept open."""

from __future__ import annotations

from typing import Any

from tvmops.cli.common import command


@command(help={"stop": "end the connections that are kept; those in use end with their command"})
def warm(ctx: Any, stop: bool = False) -> None:
    """Connections that earlier commands left open (--warm), and for how long."""
    from tvmops.connection.warm_reach import ask_keeper, keepers

    answers = [answer for path in keepers() if (answer := ask_keeper(path, "stop" if stop else "show"))]
    if stop:
        in_use = sum(int(answer["in_use"]) for answer in answers)
        print("warm connections: ended" if answers else "warm connections: none")
        if in_use:
            print(f"  {in_use} in use: they end with the commands that use them")
        return
    kept = [one for answer in answers for one in answer["connections"]]
    if not kept:
        print("warm connections: none")
    for one in sorted(kept, key=lambda one: str(one["host"])):
        state = "in use" if one["in_use"] else f"kept for {one['left']:.0f} s more"
        print(f"{one['host']}: {one['user']}@{one['address']}, {state}, used {one['uses']} times")


COMMANDS = [warm]
