"""Faults that a board can be given, each caused for real, and what ends them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tvmops.errors import LabError
from tvmops.lab.board import Machine, loops
from tvmops.lab.checks import default_deadline
from tvmops.lab.notes import active, note
from tvmops.lab.tools import require, run

if TYPE_CHECKING:
    from tvmops.lab.lab import Lab

INSIDE = Path(__file__).with_name("inside.py")


@dataclass(frozen=True)
class Case:
    """One fault for one board."""

    lab: Lab
    machine: Machine
    args: list[str]


@dataclass(frozen=True)
class Fault:
    """One kind of fault: its arguments for people, how many it takes, what it does, and the function."""

    usage: str
    least: int
    most: int
    help: str
    cause: Callable[[Case], str]


def apply(lab: Lab, machine: Machine, kind: str, args: list[str]) -> str:
    """Cause fault `kind`; the result says what was done. Raises LabError for an unknown kind or argument."""
    fault = KINDS.get(kind)
    if fault is None:
        raise LabError(f"no fault '{kind}'", f"choose one of: {', '.join(KINDS)}")
    if not fault.least <= len(args) <= fault.most:
        raise LabError(f"fault {kind}: {len(args)} arguments given", f"usage: {kind} {fault.usage}".rstrip())
    with lab.lock():
        sentence = fault.cause(Case(lab, machine, args))
        note(machine.folder, kind, args)
    if kind in ("clear", "poweron"):
        machine.wait_for_login(lab.ssh_config, default_deadline(1, machine.board.arch))
    return f"{machine.board.name}: {sentence}"


# -- network


def link_down(case: Case) -> str:
    case.lab.network.set_link(case.machine.board.number, False)
    return "cable pulled out"


def link_up(case: Case) -> str:
    case.lab.network.set_link(case.machine.board.number, True)
    return "cable plugged in"


def delay(case: Case) -> str:
    values = [number(word, "milliseconds") / 1000 for word in case.args] + [0.0]
    case.machine.link.change(delay=values[0], jitter=values[1])
    return f"every frame takes {case.args[0]} ms longer, each way"


def loss(case: Case) -> str:
    case.machine.link.change(loss=percentage(case.args[0]))
    return f"{case.args[0]} % of the frames are lost, each way"


def rate(case: Case) -> str:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)bit", case.args[0])
    if not match or float(match[1]) == 0:
        raise LabError(f"'{case.args[0]}' is not a rate", "write it like 500kbit or 2mbit")
    case.machine.link.change(rate=float(match[1]) * 1000 ** " kmg".index(match[2] or " "))
    return f"the cable carries {case.args[0]} a second, each way"


# -- processor, processes, power


def hang(case: Case) -> str:
    case.machine.supervisor()
    case.machine.cgroup.freeze(True)
    return "frozen: it answers nothing and keeps its connections"


def unhang(case: Case) -> str:
    case.machine.supervisor()
    case.machine.cgroup.freeze(False)
    return "goes on where it stood"


def kill_sshd(case: Case) -> str:
    killed = 0
    for pid in case.machine.cgroup.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return f"{killed} sshd processes killed"


def cpu(case: Case) -> str:
    case.machine.cgroup.limit_cpu(percentage(case.args[0], limit=100 * (os.cpu_count() or 1)))
    return f"gets {case.args[0]} % of one core"


def cut(case: Case) -> str:
    # The cable first: a dying machine sends no farewell, but a dying process does.
    case.lab.network.set_link(case.machine.board.number, False)
    case.machine.power_off()
    return "power cut; what it wrote is kept"


def power_loss(case: Case) -> str:
    need_disk(case.machine)
    supervisor = case.machine.supervisor()
    case.lab.network.set_link(case.machine.board.number, False)
    run(["nsenter", "-t", str(supervisor), "-m", sys.executable, "-I", "-S", INSIDE, "shutdown", case.machine.disk])
    case.machine.power_off()
    return "power lost, and with it everything that was not synced to disk"


def power_on(case: Case) -> str:
    case.lab.power_on(case.machine)
    return "switched on"


# -- disk


def disk_full(case: Case) -> str:
    need_disk(case.machine)
    leave = int(number(case.args[0], "bytes")) if case.args else 0
    inside(case.machine, "fill", str(case.machine.disk), str(leave))
    return f"disk full, {leave} bytes left"


def read_only(case: Case) -> str:
    need_disk(case.machine)
    case.machine.supervisor()
    device = Path(loops(case.machine.image)[0]).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("lab fault")
    return "disk went read-only after an error, as a dying SD card does"


# -- time, mirrors


def clock(case: Case) -> str:
    if not re.fullmatch(r"[+-]\d+(\.\d+)?[smhdy]?", case.args[0]):
        raise LabError(f"'{case.args[0]}' is not an offset", "write it like +400d, -3000d or +90s")
    inside(case.machine, "clock", str(case.machine.root), case.args[0])
    return f"new logins see a clock shifted by {case.args[0]}"


def mirror_hang(case: Case) -> str:
    case.lab.cache.freeze(True)
    return "the lab's package cache accepts connections and never answers (for every board of the lab)"


# -- the end of it


def clear(case: Case) -> str:
    """Everything back to good, switched on, with a checked disk."""
    case.lab.cache.freeze(False)
    faults = active(case.machine.folder)
    if case.machine.state() != "off":
        case.machine.cgroup.freeze(False)
    if "readonly" in faults:
        require(["e2fsck"])
        case.machine.power_off()
        run(["e2fsck", "-fy", case.machine.image], timeout=300, check=False)
    case.machine.link.clear()
    if case.machine.state() == "off":
        case.lab.power_on(case.machine)
    case.lab.network.set_link(case.machine.board.number, True)
    case.machine.cgroup.limit_cpu(None)
    if "diskfull" in faults:
        inside(case.machine, "unfill", str(case.machine.disk))
    if "clock" in faults:
        inside(case.machine, "clock", str(case.machine.root), "")
    return "healthy"


# -- arguments


def inside(machine: Machine, *args: str) -> None:
    """Run inside.py among the board's mounts."""
    machine.inside([sys.executable, "-I", "-S", str(INSIDE), *args], mount=True)


def need_disk(machine: Machine) -> None:
    """Raises LabError for a board without a disk of its own."""
    if machine.board.disk_bytes is None:
        raise LabError(f"board {machine.board.name} has no disk of its own", "start it with one: lab.up --disk 2G")


def number(text: str, unit: str) -> float:
    """A number that is not negative. Raises LabError."""
    with contextlib.suppress(ValueError):
        value = float(text)
        if 0 <= value < float("inf"):
            return value
    raise LabError(f"'{text}' is not a number of {unit}")


def percentage(text: str, limit: float = 100.0) -> float:
    """A percentage, with or without its sign. Raises LabError."""
    value = number(text.removesuffix("%"), "percent")
    if value > limit:
        raise LabError(f"{text} is more than {limit:.0f} %")
    return value


KINDS: dict[str, Fault] = {
    "down": Fault("", 0, 0, "pull the network cable out", link_down),
    "up": Fault("", 0, 0, "plug it in again", link_up),
    "delay": Fault("MS [JITTER_MS]", 1, 2, "a slow network, each way", delay),
    "loss": Fault("PERCENT", 1, 1, "a lossy network, each way", loss),
    "rate": Fault("RATE, e.g. 2mbit", 1, 1, "a thin network, each way", rate),
    "hang": Fault("", 0, 0, "freeze every process", hang),
    "unhang": Fault("", 0, 0, "let them go on", unhang),
    "killsshd": Fault("", 0, 0, "kill every sshd process", kill_sshd),
    "cpu": Fault("PERCENT", 1, 1, "leave this much of one core", cpu),
    "cut": Fault("", 0, 0, "switch the power off, disk content kept", cut),
    "powerloss": Fault("", 0, 0, "switch the power off, unsynced data lost (needs --disk)", power_loss),
    "poweron": Fault("", 0, 0, "switch it on again", power_on),
    "diskfull": Fault("[BYTES_LEFT]", 0, 1, "fill the disk (needs --disk)", disk_full),
    "readonly": Fault("", 0, 0, "disk error, disk becomes read-only (needs --disk)", read_only),
    "clock": Fault("OFFSET, e.g. +400d", 1, 1, "new logins see another time", clock),
    "mirror-hang": Fault("", 0, 0, "the lab's package cache stops answering", mirror_hang),
    "clear": Fault("", 0, 0, "end all faults; switch on with a checked disk", clear),
}
