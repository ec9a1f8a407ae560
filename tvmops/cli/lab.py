"""Commands about virtual boards: up, ps, exec, fault, down, inventory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from tvmops.cli.common import after_dashes, command
from tvmops.errors import LabError

if TYPE_CHECKING:
    from tvmops.lab import LabEvent

ID_HELP = "which lab, when several run at once"
FAULT_HELP = "KIND or KIND=ARG,ARG, e.g. delay=100,20; 'list' shows all"


@command(
    help={
        "boards": "how many",
        "arch": "amd64, arm64 or armhf; others than this machine's are emulated",
        "plain": "sshd only, without systemd: starts in less time and memory",
        "disk": "a disk of its own for each board, e.g. 2G; some faults need one",
        "name": "prefix of the names (default: b, a or h by architecture)",
        "id": ID_HELP,
        "nat": "give the boards a way out through this machine",
        "no_cache": "without the package cache",
    }
)
def up(  # noqa: PLR0917 - options, one by one
    ctx: Any,
    boards: int = 2,
    arch: str = "amd64",
    plain: bool = False,
    disk: str = "",
    name: str = "",
    id: str = "lab",
    nat: bool = False,
    no_cache: bool = False,
) -> None:
    """Start virtual boards and wait until each accepts a login."""
    from tvmops.lab import Lab

    lab = Lab(id)
    lab.up(
        boards,
        arch=arch,
        plain=plain,
        disk=disk or None,
        prefix=name or None,
        cache=not no_cache,
        nat=nat,
        on_progress=show,
    )
    option = "lab" if id == "lab" else f"lab:{id}"
    ending = "lab.down" if id == "lab" else f"lab.down --id {id}"
    print(f"the lab is up; use it with --inventory {option}, end it with {ending}")


def show(event: LabEvent) -> None:
    """Print one line of progress."""
    print(f"{event.seconds:6.1f} s  {event.board or '-':<8}  {event.text}", flush=True)


@command(help={"id": ID_HELP, "json_": "one JSON list for machines"})
def ps(ctx: Any, id: str = "lab", json_: bool = False) -> None:
    """The boards with address, state and faults."""
    from tvmops.lab import Lab

    boards = Lab(id).boards()
    if json_:
        print(json.dumps([asdict(board) for board in boards], indent=1))
        return
    if not boards:
        print(f"lab '{id}' has no boards; start some: tvmops lab.up --boards 2")
        return
    width = max(len(board.name) for board in boards)
    for board in boards:
        faults = f"  faults: {', '.join(board.faults)}" if board.faults else ""
        print(f"{board.name:<{width}}  {board.address:<15}  {board.arch:<5}  {board.kind:<7}  {board.state}{faults}")


@command(
    name="exec",
    help={
        "host": "the board",
        "command_": "the command; or write it after '--'",
        "user": "login user: root or admin",
        "id": ID_HELP,
    },
)
def exec_(ctx: Any, host: str, command_: str = "", user: str = "root", id: str = "lab") -> None:
    """Run a command on a board: lab.exec b1 -- systemctl status. Without one, log in."""
    from tvmops.lab import Lab

    text = command_ or after_dashes()
    words = ["sh", "-c", text] if text else []
    done = subprocess.run(Lab(id).ssh_command(host, words, user), check=False)
    if done.returncode:
        raise Exit(code=done.returncode)


@command(help={"host": "the board", "kind": FAULT_HELP, "id": ID_HELP})
def fault(ctx: Any, host: str, kind: str, id: str = "lab") -> None:
    """Give a board a fault, or end it: lab.fault --host b1 delay=100,20; lab.fault --host b1 clear."""
    from tvmops.lab import Lab
    from tvmops.lab.faults import KINDS

    if kind == "list":
        for name, item in KINDS.items():
            print(f"{name:<12} {item.usage:<20} {item.help}")
        return
    name, _, given = kind.partition("=")
    args = [*re.split(r"[,\s]+", given)] if given else []
    args += after_dashes().split()
    print(Lab(id).fault(host, name, *args))


@command(help={"purge": "also forget the boards: disks, keys, logs", "id": ID_HELP, "all_": "every lab there is"})
def down(ctx: Any, purge: bool = False, id: str = "lab", all_: bool = False) -> None:
    """End the lab and free everything it holds in the kernel, whatever state it is in."""
    from tvmops.lab import Lab, lab_ids

    for lab_id in lab_ids() if all_ else [id]:
        lab = Lab(lab_id)
        lab.down(purge)
        left = lab.leftovers()
        if left:
            raise LabError(f"lab '{lab_id}' is down, but this is left: {', '.join(left)}", "run lab.down again")
        print(f"lab '{lab_id}' is down{'; its boards are forgotten' if purge else ''}")


@command(help={"id": ID_HELP})
def inventory(ctx: Any, id: str = "lab") -> None:
    """The lab as JSON, in the form of Ansible's dynamic inventories."""
    from tvmops.lab import Lab
    from tvmops.lab.inventory import as_dynamic

    json.dump(as_dynamic(Lab(id).inventory()), sys.stdout, indent=1)
    print()


COMMANDS = [up, ps, exec_, fault, down, inventory]
