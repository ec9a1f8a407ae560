"""A lab: a set of virtual boards on one network, with package caches and an inventory file."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvmops.connection.base import CommandResult
from tvmops.errors import LabError
from tvmops.lab import images, inventory, layer
from tvmops.lab.board import Board, Machine, check_name, loops, remove_nspawn_folders
from tvmops.lab.cache import PackageCache
from tvmops.lab.cgroup import Cgroup
from tvmops.lab.checks import default_deadline, leftovers, parse_size, require_root
from tvmops.lab.emulation import unregister
from tvmops.lab.locking import locked
from tvmops.lab.network import Network
from tvmops.lab.notes import active, note
from tvmops.lab.starting import EventKind, LabEvent, Wanted, describe, start_all
from tvmops.lab.tools import clean_environment, require, run
from tvmops.paths import lab_dir

ID = re.compile(r"[a-z][a-z0-9]{0,9}")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_NEEDED = 4096  # systemd takes about 6 per board; the usual 128 stop at 20 boards
TOOLS = ("ip", "losetup", "mount", "mkfs.ext4", "nsenter", "ssh", "ssh-keygen", "systemd-nspawn", "tar", "unshare")


def quiet(_event: LabEvent) -> None:
    """Progress that nobody wants to see."""


class Lab:
    """The virtual boards of lab `id`. Every kernel object carries the id, so several labs can run at once."""

    def __init__(self, id: str = "lab") -> None:
        if not ID.fullmatch(id):
            raise LabError(f"'{id}' cannot be a lab's id", "use 1 to 10 lower-case letters and digits, a letter first")
        self.id = id
        self.folder = lab_dir() / id
        self.network = Network(id)
        self.cgroup = Cgroup(f"tvmops-{id}")
        self.cache = PackageCache(id, self.folder / "cache", self.network)

    # -- where things are

    @property
    def inventory_path(self) -> Path:
        """The inventory file; it exists while the lab is up."""
        return self.folder / "inventory.yml"

    @property
    def ssh_config(self) -> Path:
        """For people: `ssh -F FILE b1`."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The boards' host keys."""
        return self.folder / "known_hosts"

    @property
    def key(self) -> Path:
        """The private key that logs in to the boards, as admin and as root."""
        return self.folder / "id_ed25519"

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lab against other tvmops processes."""
        return locked(lab_dir() / f"{self.id}.lock", f"lab '{self.id}'")

    # -- looking

    def machines(self) -> dict[str, Machine]:
        """Every board of the lab, by name, in order of address."""
        found: list[Machine] = []
        for folder in (self.folder / "boards").glob("*/"):
            machine = Machine.load(self.id, folder, self.network)
            if machine is not None:
                found.append(machine)
        return {machine.board.name: machine for machine in sorted(found, key=lambda machine: machine.board.number)}

    def machine(self, board: Board | str) -> Machine:
        """One board. Raises LabError naming the boards there are."""
        name = board if isinstance(board, str) else board.name
        machines = self.machines()
        if name not in machines:
            known = ", ".join(machines) or "none; start some: tvmops lab.up --boards 2"
            raise LabError(f"lab '{self.id}' has no board '{name}'", f"its boards: {known}")
        return machines[name]

    def boards(self) -> list[Board]:
        """The lab's boards with their present state."""
        return [present(machine) for machine in self.machines().values()]

    def inventory(self) -> dict[str, Any]:
        """The lab as inventory data. Raises LabError when the lab is not up."""
        mirrors = self.cache.variables() if self.cache.running() else {}
        variables = inventory.lab_variables(self.key, self.known_hosts, mirrors)
        return inventory.build([machine.board for machine in self.machines().values()], variables)

    # -- up

    def up(
        self,
        boards: int | Sequence[str] = 2,
        *,
        arch: str = "amd64",
        plain: bool = False,
        disk: int | str | None = None,
        prefix: str | None = None,
        cache: bool = True,
        nat: bool = False,
        deadline: float | None = None,
        on_progress: Callable[[LabEvent], None] = quiet,
    ) -> list[Board]:
        """Make and start boards (those that already run are left alone) and wait until each accepts a login.

        `boards` is a number (names are `prefix` + 1..n; the prefix defaults to b, a or h by architecture) or names;
        `disk` is a size such as "2G" or bytes; `deadline` is seconds per board. Raises LabError, MissingTool.
        """
        require_root()
        require(TOOLS)
        began = time.monotonic()
        telling = threading.Lock()

        def tell(kind: EventKind, text: str, board: str | None = None) -> None:
            with telling:
                on_progress(LabEvent(kind, board, text, time.monotonic() - began))

        prefix = prefix or images.architecture(arch).prefix
        names = [f"{prefix}{n}" for n in range(1, boards + 1)] if isinstance(boards, int) else list(boards)
        if not names:
            raise LabError("no boards asked for", "use --boards 2")
        for name in names:
            check_name(name)
        wanted = Wanted(tuple(names), arch, plain, parse_size(disk))
        images.ensure_image(arch, lambda text: tell("image", text))
        with self.lock():
            self._prepare(nat)
            # Made here, once, because boards start in parallel.
            self._layers(arch)
            existing = self.machines()
            described = describe(self.id, self.folder / "boards", self.network, existing, wanted)
            self._write_files()
            started: Future[None] | None = None
            with ThreadPoolExecutor(max_workers=1) as aside:
                if cache and not self.cache.running():
                    tell("cache", "starting the package cache")
                    started = aside.submit(self.cache.start)
                wait = deadline or default_deadline(len(names), arch)
                start_all(described, self.power_on, self.ssh_config, wait, tell)
            if started is not None:
                started.result()
                self.cache.wait_ready()
                self._write_files()
        return [present(machine) for machine in described]

    def _prepare(self, nat: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        (self.folder / "boards").mkdir(exist_ok=True)
        if ":" in str(self.folder) or "," in str(self.folder):
            raise LabError(
                f"{self.folder}: the lab's folder must not have ':' or ',' in its name", "set TVMOPS_LAB_DIR"
            )
        if not self.cgroup.populated():
            # What an ended lab may have left.
            self.network.remove()
        self.network.create()
        if nat:
            self.network.nat_on(self.folder / "ip_forward")
        layer.ensure_key(self.key)
        if int(INOTIFY.read_text()) < INOTIFY_NEEDED:
            # Left raised by `down`: other labs may have come to rely on it, and a higher limit harms nobody.
            INOTIFY.write_text(str(INOTIFY_NEEDED))

    def power_on(self, machine: Machine) -> None:
        """Switch a board on; it accepts logins some seconds later."""
        gateway = self.network.address(1) if self.network.tables() else None
        machine.power_on(self._layers(machine.board.arch), gateway)
        note(machine.folder, "poweron")

    def _layers(self, arch: str) -> list[Path]:
        """The folders below a board's own files, topmost first."""
        own = layer.ensure_layer(self.folder / "layer", arch, layer.ensure_key(self.key))
        return [own, images.ensure_image(arch)]

    def _write_files(self) -> None:
        boards = [machine.board for machine in self.machines().values()]
        inventory.replace_file(self.ssh_config, inventory.ssh_config(boards, self.key, self.known_hosts))
        inventory.replace_file(self.known_hosts, inventory.known_hosts(boards))
        inventory.write(self.inventory_path, self.inventory())

    # -- using

    def ssh_command(self, board: Board | str, argv: Sequence[str], user: str = "root") -> list[str]:
        """The command that runs `argv` on a board over ssh as `user`; without `argv`, a login."""
        command = ["ssh", "-F", str(self.ssh_config), "-l", user, self.machine(board).board.name]
        return [*command, "--", shlex.join(argv)] if argv else command

    def exec(
        self, board: Board | str, argv: Sequence[str], *, user: str = "root", stdin: str = "", timeout: float = 60.0
    ) -> CommandResult:
        """Run `argv` on a board over ssh as `user`. Raises LabError when it has not ended after `timeout` seconds."""
        command = self.ssh_command(board, argv, user)
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                env=clean_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"board {command[5]}: '{command[-1]}' has not ended after {timeout:.0f} s") from error
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def fault(self, board: Board | str, kind: str, *args: str) -> str:
        """Cause a fault, or end it; returns a sentence about what was done. Raises LabError (see lab/faults.py)."""
        from tvmops.lab import faults

        require_root()
        return faults.apply(self, self.machine(board), kind, list(args))

    # -- down

    def down(self, purge: bool = False) -> None:
        """Free everything the lab holds in the kernel, whatever state it was left in.

        The boards' disks and keys stay for the next `up`, unless `purge`.
        """
        require_root()
        with self.lock():
            self.cgroup.kill()
            self.network.nat_off(self.folder / "ip_forward")
            self.network.remove()
            self.inventory_path.unlink(missing_ok=True)
            for folder in (self.folder / "boards").glob("*/"):
                for device in loops(folder / "disk.img"):
                    run(["losetup", "-d", device], check=False)
                remove_nspawn_folders(f"{self.id}-{folder.name}")
            self.cgroup.remove()
            self._forget_emulators()
            if purge:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.network.release()

    def _forget_emulators(self) -> None:
        machines = [machine for name in lab_ids() for machine in Lab(name).machines().values()]
        used = {machine.board.arch for machine in machines if machine.state() != "off"}
        for arch in images.ARCHITECTURES.values():
            if arch.name not in used:
                unregister(arch.qemu)

    def leftovers(self) -> list[str]:
        """Whatever of the lab is still in the kernel, in words; empty after `down`."""
        return leftovers(self.id, self.folder, self.cgroup, self.network)


def present(machine: Machine) -> Board:
    """The board with its present state and faults."""
    faults = tuple(" ".join([kind, *args]) for kind, args in active(machine.folder).items())
    return replace(machine.board, state=machine.state(), faults=faults)


def lab_ids() -> list[str]:
    """Ids of the labs that have a folder."""
    if not lab_dir().is_dir():
        return []
    return sorted(path.parent.name for path in lab_dir().glob("*/boards"))
