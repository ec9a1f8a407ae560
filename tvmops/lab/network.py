"""The lab's network: one bridge with a /24 of its own; every board hangs on it with a veth pair."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from tvmops.errors import LabError, TvmopsError
from tvmops.lab.locking import locked
from tvmops.lab.tools import require, run
from tvmops.paths import lab_dir

FIRST_OCTET = 7
LAST_OCTET = 250
NET = Path("/sys/class/net")
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


class Network:
    """Names, addresses and kernel objects of the network of lab `lab_id`.

    An interface name has at most 15 characters: a lab id has at most 10, then a dash, a letter and the board's number.
    """

    def __init__(self, lab_id: str) -> None:
        self.lab_id = lab_id
        self.bridge = f"{lab_id}-br"
        self._table = f"tvmops_{lab_id}_nat"

    # -- addresses

    def octet(self) -> int | None:
        """The third octet that this lab holds, or None."""
        return _read_table().get(self.lab_id)

    def claim(self) -> int:
        """Take a free /24 for this lab, or return the one it has. Raises LabError when none is free."""
        with locked(_table_file().with_suffix(".lock"), "the lab's address table"):
            table = _read_table()
            if self.lab_id not in table:
                taken = set(table.values()) | _octets_in_use()
                free = [number for number in range(FIRST_OCTET, LAST_OCTET) if number not in taken]
                if not free:
                    raise LabError("no free network 10.213.x.0/24 for another lab", "take a lab down: lab.down --id ID")
                table[self.lab_id] = free[0]
                _write_table(table)
            return table[self.lab_id]

    def release(self) -> None:
        """Give the /24 back."""
        with locked(_table_file().with_suffix(".lock"), "the lab's address table"):
            table = _read_table()
            if table.pop(self.lab_id, None) is not None:
                _write_table(table)

    def address(self, number: int) -> str:
        """The address of host `number` in this lab; the controller is number 1."""
        octet = self.octet()
        if octet is None:
            raise LabError(f"lab '{self.lab_id}' is not up", "start it: tvmops lab.up --boards 2")
        return f"10.213.{octet}.{number}"

    def hardware_address(self, number: int) -> str:
        """A board's own, for life: neighbours remember it for most of a minute."""
        return f"02:74:76:6d:{self.claim():02x}:{number:02x}"

    # -- links

    def board_link(self, number: int) -> str:
        """The controller's end of the cable of board `number`."""
        return f"{self.lab_id}-v{number}"

    def create(self) -> None:
        """Make the bridge with the controller's address on it."""
        address = f"10.213.{self.claim()}.1/24"
        if (NET / self.bridge).exists():
            if address in run(["ip", "-4", "-o", "addr", "show", "dev", self.bridge]).stdout:
                return
            raise LabError(
                f"a bridge {self.bridge} with another address is in use",
                "another lab of the same id, kept in another folder? choose another --id",
            )
        commands = [
            f"link add {self.bridge} type bridge forward_delay 0",
            f"addr add {address} dev {self.bridge}",
            f"link set {self.bridge} up",
        ]
        try:
            run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")
        except LabError as error:
            run(["ip", "link", "del", self.bridge], check=False)
            raise LabError(
                f"the lab's bridge cannot be made: {error.message}", "the lab needs root and bridges"
            ) from error

    def plug(self, number: int, pid: int) -> None:
        """Run a cable from the bridge into the network namespace of process `pid`, as its eth0."""
        link = self.board_link(number)
        self.unplug(number)
        commands = [
            f"link add {link} type veth peer name eth0 address {self.hardware_address(number)} netns {pid}",
            f"link set {link} master {self.bridge}",
            f"link set {link} up",
        ]
        run(["ip", "-batch", "-"], stdin="\n".join(commands) + "\n")

    def plugged(self, number: int) -> bool:
        """Whether a board's cable exists; it goes when the board does."""
        return (NET / self.board_link(number)).exists()

    def unplug(self, number: int) -> None:
        """Remove what is left of a board's cable."""
        link = self.board_link(number)
        if (NET / link).exists():
            run(["ip", "link", "del", link], check=False)

    def set_link(self, number: int, up: bool) -> None:
        """Plug in or pull out the controller's end of a board's cable. Raises LabError when the board is off."""
        link = self.board_link(number)
        if (NET / link).exists():
            run(["ip", "link", "set", link, "up" if up else "down"])

    def links(self) -> list[str]:
        """Names of all interfaces of this lab that exist."""
        pattern = re.compile(rf"{re.escape(self.lab_id)}-(br|[vabp]\d+)")
        return sorted(path.name for path in NET.iterdir() if pattern.fullmatch(path.name))

    def remove(self) -> None:
        """Remove every interface and firewall table of this lab."""
        for link in self.links():
            run(["ip", "link", "del", link], check=False)
        self.nat_off()

    # -- a way out, off unless asked for

    def nat_on(self, saved: Path) -> None:
        """Let boards reach what the controller reaches; `saved` keeps the system's setting for nat_off."""
        require(["nft"])
        if not saved.exists():
            saved.write_text(IP_FORWARD.read_text())
        IP_FORWARD.write_text("1")
        net = f"10.213.{self.claim()}.0/24"
        rule = f'ip saddr {net} oifname != "{self.bridge}" masquerade'
        chain = f"chain post {{ type nat hook postrouting priority 100; {rule}; }};"
        table = f"table ip {self._table}"
        run(["nft", "-f", "-"], stdin=f"{table}\ndelete {table}\n{table} {{ {chain} }}\n")

    def nat_off(self, saved: Path | None = None) -> None:
        """Take the way out away and put the system's setting back."""
        if self.tables():
            run(["nft", "delete", "table", "ip", self._table], check=False)
        if saved is not None and saved.exists():
            with suppress(OSError):
                IP_FORWARD.write_text(saved.read_text())
            saved.unlink()

    def tables(self) -> list[str]:
        """Firewall tables of this lab that exist."""
        try:
            said = run(["nft", "list", "tables"], check=False).stdout
        except TvmopsError:
            return []
        return [line for line in said.splitlines() if line.split()[-1] == self._table]


def _table_file() -> Path:
    return lab_dir() / "networks.json"


def _read_table() -> dict[str, int]:
    try:
        table = json.loads(_table_file().read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): int(octet) for name, octet in table.items()}


def _write_table(table: dict[str, int]) -> None:
    file = _table_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(table, indent=1) + "\n")
    partial.rename(file)


def _octets_in_use() -> set[int]:
    """Third octets of 10.213.x that this machine already has addresses or routes in."""
    text = run(["ip", "-4", "-o", "addr"]).stdout + run(["ip", "-4", "route", "show", "table", "all"]).stdout
    return {int(octet) for octet in re.findall(r"\b10\.213\.(\d+)\.", text)}
