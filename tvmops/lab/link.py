"""The quality of one board's cable: kept in a file beside the board, made real by a relay process."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tvmops.errors import LabError
from tvmops.lab.cgroup import Cgroup
from tvmops.lab.daemon import spawn
from tvmops.lab.network import NET, Network
from tvmops.lab.tools import run

READY_DEADLINE = 10.0


class Link:
    """The cable of board `number` of a lab; `folder` is the board's."""

    def __init__(self, lab_id: str, folder: Path, network: Network, number: int) -> None:
        self.folder = folder
        self.network = network
        self.cable = network.board_link(number)
        self.names = {kind: f"{lab_id}-{letter}{number}" for kind, letter in LETTERS.items()}
        self.cgroup = Cgroup(f"tvmops-{lab_id}/_relay{number}")

    @property
    def _file(self) -> Path:
        return self.folder / "link.json"

    def quality(self) -> dict[str, float]:
        """What is wrong with the cable; empty for a good one."""
        try:
            values = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): float(value) for name, value in values.items()}

    def change(self, **values: float) -> None:
        """Change some of the cable's properties (see relay.Link); the others stay."""
        merged = {name: value for name, value in {**self.quality(), **values}.items() if value}
        self._file.write_text(json.dumps(merged) + "\n")
        self.detach()
        self.attach()

    def clear(self) -> None:
        """Make it a good cable."""
        self._file.unlink(missing_ok=True)
        self.detach()

    def attach(self) -> None:
        """Put the relay in between if the cable is bad and plugged in. Raises LabError when it does not start."""
        quality = self.quality()
        if not quality or not (NET / self.cable).exists():
            return
        config = {"bridge": self.network.bridge, "cable": self.cable, "quality": quality, **self.names}
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py")), json.dumps(config)]
        log = self.folder / "relay.log"
        spawn(self.cgroup, command, log)
        limit = time.monotonic() + READY_DEADLINE
        while self._master() != self.names["own_bridge"]:
            if time.monotonic() > limit or not self.cgroup.populated():
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise LabError(f"the relay of cable {self.cable} did not start:\n{tail}")
            time.sleep(0.01)

    def detach(self) -> None:
        """Take the relay out and plug the cable back into the lab's bridge."""
        self.cgroup.kill()
        self.cgroup.remove()
        for name in self.names.values():
            if (NET / name).exists():
                run(["ip", "link", "del", name], check=False)
        if (NET / self.cable).exists() and self._master() != self.network.bridge:
            done = run(["ip", "link", "set", self.cable, "master", self.network.bridge], check=False)
            # A board that was switched off takes the cable along, when the kernel gets to it.
            if done.returncode != 0 and (NET / self.cable).exists():
                raise LabError(f"cable {self.cable} cannot be plugged into the lab's bridge: {done.stderr.strip()}")

    def _master(self) -> str:
        try:
            return (NET / self.cable / "master").readlink().name
        except OSError:
            return ""


LETTERS = {"tap_a": "a", "tap_b": "b", "own_bridge": "p"}
