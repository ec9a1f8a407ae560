"""Describing and starting many boards at once, with progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tvmops.errors import LabError
from tvmops.lab.board import FIRST_NUMBER, LAST_NUMBER, Board, Machine
from tvmops.lab.network import Network

EventKind = Literal["image", "cache", "start", "ready", "failed"]
Tell = Callable[[EventKind, str, str | None], None]
STARTS_AT_ONCE = 16


@dataclass(frozen=True)
class LabEvent:
    """Progress of `up`; `seconds` since it began."""

    kind: EventKind
    board: str | None
    text: str
    seconds: float


@dataclass(frozen=True)
class Wanted:
    """The boards that were asked for."""

    names: tuple[str, ...]
    arch: str
    plain: bool
    disk_bytes: int | None


def describe(
    lab_id: str,
    folder: Path,
    network: Network,
    existing: Mapping[str, Machine],
    wanted: Wanted,
) -> list[Machine]:
    """The wanted boards, made under `folder` where they do not exist yet. Raises LabError for another kind of board."""
    taken = {machine.board.number for machine in existing.values()}
    free = iter(number for number in range(FIRST_NUMBER, LAST_NUMBER + 1) if number not in taken)
    machines = dict(existing)
    fresh: list[Machine] = []
    for name in wanted.names:
        if name in machines:
            _check_same(machines[name].board, wanted)
            continue
        number = next(free, None)
        if number is None:
            raise LabError(f"lab '{lab_id}' is full: it has room for {LAST_NUMBER - FIRST_NUMBER + 1} boards")
        address = network.address(number)
        board = Board(name, number, address, wanted.arch, wanted.plain, wanted.disk_bytes, "")
        machines[name] = Machine(lab_id, folder / name, network, board)
        fresh.append(machines[name])
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(Machine.create, fresh))
    return [machines[name] for name in wanted.names]


def _check_same(board: Board, wanted: Wanted) -> None:
    if (board.arch, board.plain, board.disk_bytes) == (wanted.arch, wanted.plain, wanted.disk_bytes):
        return
    disk = f", disk of {board.disk_bytes} bytes" if board.disk_bytes else ""
    raise LabError(
        f"board {board.name} exists already as another kind of board ({board.arch}, {board.kind}{disk})",
        "choose other names (--name PREFIX), or remove all boards first: lab.down --purge",
    )


def start_all(
    machines: Sequence[Machine], power_on: Callable[[Machine], None], ssh_config: Path, deadline: float, tell: Tell
) -> None:
    """Start those that are off; wait for a login on each, at most `deadline` seconds. Raises one LabError for all."""
    stop = threading.Event()
    failures: list[LabError] = []

    def start(machine: Machine) -> None:
        name = machine.board.name
        try:
            if machine.state() == "frozen":
                raise LabError(f"board {name} is frozen; let it go on: lab.fault --host {name} unhang")
            if machine.half_started():
                machine.power_off()
            if machine.state() == "off" and not stop.is_set():
                tell("start", "starting", name)
                power_on(machine)
            machine.wait_for_login(ssh_config, deadline, stop)
            tell("ready", f"ready at {machine.board.address}", name)
        except LabError as error:
            failures.append(error)
            if not stop.is_set():
                tell("failed", error.message.partition("\n")[0], name)

    with ThreadPoolExecutor(max_workers=STARTS_AT_ONCE) as pool:
        try:
            list(pool.map(start, machines))
        except BaseException:
            stop.set()
            raise
    if failures:
        raise LabError("\n".join(error.message for error in failures), "look at lab.ps; end them all: lab.down")
