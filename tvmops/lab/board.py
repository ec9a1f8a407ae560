"""A virtual board: its description on disk, switching it on and off, and waiting for a login."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tvmops.errors import LabError
from tvmops.lab.cgroup import Cgroup
from tvmops.lab.layer import make_host_key
from tvmops.lab.link import Link
from tvmops.lab.network import Network
from tvmops.lab.tools import clean_environment, run

FIRST_NUMBER = 11
LAST_NUMBER = 250
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
START_DEADLINE = 30.0


@dataclass(frozen=True)
class Board:
    """One virtual board. `disk_bytes` is None for a board without a disk of its own."""

    name: str
    number: int
    address: str
    arch: str
    plain: bool
    disk_bytes: int | None
    host_key: str
    state: str = "off"
    faults: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`plain` (sshd only) or `systemd`."""
        return "plain" if self.plain else "systemd"


class Machine:
    """A board together with its folder and kernel objects."""

    def __init__(self, lab_id: str, folder: Path, network: Network, board: Board) -> None:
        self.lab_id = lab_id
        self.folder = folder
        self.network = network
        self.board = board
        self.cgroup = Cgroup(f"tvmops-{lab_id}/{board.name}")
        self.link = Link(lab_id, folder, network, board.number)

    # -- on disk

    @property
    def image(self) -> Path:
        """The file that is the board's disk, where it has one."""
        return self.folder / "disk.img"

    @property
    def disk(self) -> Path:
        """Where the board's disk is mounted, in the board's own mount namespace."""
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        """Where its root file system is mounted, in the same namespace."""
        return self.folder / "root"

    @property
    def console(self) -> Path:
        """The log of what the board writes to its console."""
        return self.folder / "console.log"

    def create(self) -> None:
        """Make the board's folder, host key and disk, and note its description last."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("disk", "root"):
            (self.folder / name).mkdir(parents=True)
        key = make_host_key(self.folder / "host_key", self.board.name)
        self.board = replace(self.board, host_key=" ".join(key.split()[:2]))
        if self.board.disk_bytes is not None:
            with self.image.open("wb") as file:
                file.truncate(self.board.disk_bytes)
            run(["mkfs.ext4", "-q", "-F", "-m", "0", self.image])
        description = {key: value for key, value in asdict(self.board).items() if key not in ("state", "faults")}
        partial = self.folder / "board.new"
        partial.write_text(json.dumps(description, indent=1) + "\n")
        partial.rename(self.folder / "board.json")

    @staticmethod
    def load(lab_id: str, folder: Path, network: Network) -> Machine | None:
        """The board whose description is in `folder`; None when it was never finished."""
        try:
            board = Board(**json.loads((folder / "board.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return Machine(lab_id, folder, network, board)

    # -- power

    def state(self) -> str:
        """`running`, `frozen` or `off`."""
        if not self.cgroup.populated():
            return "off"
        return "frozen" if self.cgroup.frozen() else "running"

    def half_started(self) -> bool:
        """Whether whoever started the board died before its cable was plugged in."""
        return self.cgroup.populated() and not self.network.plugged(self.board.number)

    def supervisor(self) -> int:
        """The process that holds the board's namespaces. Raises LabError when the board is off."""
        processes = self.cgroup.child("launch").processes()
        if not processes:
            raise LabError(f"board {self.board.name} is off", f"lab.fault --host {self.board.name} poweron")
        return processes[0]

    def power_on(self, lower: list[Path], gateway: str | None) -> None:
        """Start the board; returns when its cable is plugged in, long before it accepts logins."""
        if self.cgroup.populated():
            return
        self._clear()
        self.cgroup.create()
        for name in ("launch", "box"):
            (self.cgroup.path / name).mkdir(exist_ok=True)
        start = self.folder / "start.json"
        start.write_text(json.dumps(self._start_file(lower, gateway)))
        start.chmod(0o600)
        self.network.plug(self.board.number, self._spawn(start))
        self.link.attach()

    def _spawn(self, start: Path) -> int:
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py")), str(start)]
        with self.console.open("ab") as console:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=console,
                env=clean_environment(),
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as output:
            answered, _, _ = select.select([output], [], [], START_DEADLINE)
            line = output.readline() if answered else b""
        if not line.strip():
            self.cgroup.kill()
            process.wait(START_DEADLINE)
            raise LabError(f"board {self.board.name} did not start:\n{self.console_tail()}")
        process.wait(START_DEADLINE)
        return int(line)

    def _start_file(self, lower: list[Path], gateway: str | None) -> dict[str, object]:
        board = self.board
        hosts = f"127.0.0.1 localhost\n{board.address} {board.name}\n"
        key = self.folder / "host_key"
        seed = {
            "etc/hostname": (f"{board.name}\n", 0o644),
            "etc/hosts": (hosts, 0o644),
            "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_text(), 0o644),
            "etc/machine-id": (f"{uuid.uuid4().hex}\n", 0o444),
        }
        return {
            "name": board.name,
            "machine": f"{self.lab_id}-{board.name}",
            "home": str(self.folder),
            "image": str(self.image) if board.disk_bytes is not None else None,
            "lower": [str(path) for path in lower],
            "address": board.address,
            "gateway": gateway,
            "plain": board.plain,
            "seed": seed,
            "join": self.cgroup.join_files(),
            "launch": str(self.cgroup.path / "launch" / "cgroup.procs"),
            "box": str(self.cgroup.path / "box" / "cgroup.procs"),
        }

    def power_off(self) -> None:
        """Pull the plug. What the board wrote is safe: its file systems live on in the controller's page cache."""
        self.cgroup.kill()
        self._clear()

    def _clear(self) -> None:
        self.link.detach()
        self.network.unplug(self.board.number)
        wait_for_loops(self.image)
        remove_nspawn_folders(f"{self.lab_id}-{self.board.name}")

    def destroy(self) -> None:
        """Pull the plug and forget the board."""
        self.power_off()
        self.cgroup.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def inside(self, argv: list[str], *, mount: bool = False, timeout: float = 60.0) -> None:
        """Run a program of the controller in the board's network, or with `mount` among the board's mounts."""
        run(["nsenter", "-t", str(self.supervisor()), "-m" if mount else "-n", *argv], timeout=timeout)

    # -- readiness

    def wait_for_login(self, ssh_config: Path, deadline: float, stop: threading.Event | None = None) -> float:
        """Wait for a real login of the user `admin`, at most `deadline` seconds; the result is how long it took.

        Gives up at once when `stop` is set.
        Raises LabError with the end of the console when the board stops or stays silent.
        """
        started = time.monotonic()
        limit = started + deadline
        while not self._has_banner():
            if not self.cgroup.populated():
                raise LabError(f"board {self.board.name} stopped while starting:\n{self.console_tail()}")
            self._check_deadline(limit, deadline, "no ssh server answers", stop)
            time.sleep(0.05)
        command = ["ssh", "-n", "-F", str(ssh_config), "-l", "admin", self.board.name, "true"]
        # A server that answers may still refuse: users other than root may not log in while a board boots.
        while run(command, timeout=deadline, check=False).returncode != 0:
            self._check_deadline(limit, deadline, "the ssh server refuses logins", stop)
            time.sleep(0.1)
        return time.monotonic() - started

    def _check_deadline(self, limit: float, deadline: float, why: str, stop: threading.Event | None) -> None:
        if stop is not None and stop.is_set():
            raise LabError(f"board {self.board.name}: no longer waited for")
        if time.monotonic() > limit:
            name = self.board.name
            raise LabError(f"board {name} is not ready after {deadline:.0f} s: {why}\n{self.console_tail()}")

    def _has_banner(self) -> bool:
        try:
            with socket.create_connection((self.board.address, 22), timeout=2.0) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def console_tail(self, lines: int = 12) -> str:
        """The last lines of the console, for error messages."""
        try:
            text = self.console.read_text(errors="replace")
        except OSError:
            return "(no console output)"
        tail = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
        return "\n".join(f"  console: {line}" for line in tail) or "(no console output)"


def check_name(name: str) -> str:
    """Refuse names that cannot be host names."""
    if not NAME.fullmatch(name):
        raise LabError(f"'{name}' cannot be a board's name", "use lower-case letters, digits and '-', at most 31")
    return name


def wait_for_loops(image: Path, deadline: float = 5.0) -> None:
    """Wait until the kernel has let go of the loop device of `image`; detach it when it does not."""
    if not image.exists():
        return
    limit = time.monotonic() + deadline
    while devices := loops(image):
        if time.monotonic() > limit:
            run(["losetup", "-d", *devices], check=False)
            return
        time.sleep(0.02)


def loops(image: Path) -> list[str]:
    """Loop devices on `image`."""
    text = run(["losetup", "-n", "-O", "NAME", "-j", image], check=False).stdout
    return text.split()


def remove_nspawn_folders(machine: str) -> None:
    """Remove what systemd-nspawn leaves under /run when it is killed."""
    for kind in ("propagate", "unix-export"):
        folder = Path("/run/systemd/nspawn") / kind / machine
        if folder.is_dir() and not os.path.ismount(folder):
            shutil.rmtree(folder, ignore_errors=True)
