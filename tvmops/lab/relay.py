"""A bad cable for one board: frames between two bridges pass through this process, late, slowly, or not at all.

Run as a program with one argument, a JSON object; needs only the standard library, root and /dev/net/tun. It works
where the kernel has no traffic shaping. The board's cable and TAP_B hang on a bridge of their own, TAP_A on the lab's.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
QUEUE_SECONDS = 0.4  # what a slow link buffers before it drops
FRAMES_AT_ONCE = 64
HEADER = 14

chance = random.Random()  # noqa: S311 - a bad cable keeps no secrets


def open_tap(name: str) -> int:
    """Make the interface `name`; it lives as long as this process."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def ip(commands: list[str]) -> None:
    """Run ip commands."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True, timeout=30)


class Link:
    """What happens to frames: delay and jitter in seconds, loss, duplicate, corrupt in percent, rate in bits/s."""

    def __init__(self, near: int, far: int, quality: dict[str, float]) -> None:
        self.other = {near: far, far: near}
        self.delay = quality.get("delay", 0.0)
        self.jitter = quality.get("jitter", 0.0)
        self.loss = quality.get("loss", 0.0)
        self.duplicate = quality.get("duplicate", 0.0)
        self.corrupt = quality.get("corrupt", 0.0)
        self.rate = quality.get("rate", 0.0)
        self.queue: list[tuple[float, int, int, bytes]] = []
        self.count = 0
        self.last = {near: 0.0, far: 0.0}
        self.busy_until = {near: 0.0, far: 0.0}

    def accept(self, source: int, frame: bytes) -> None:
        """Take a frame that came in at `source`."""
        if chance.random() * 100 < self.loss:
            return
        if chance.random() * 100 < self.corrupt and len(frame) > HEADER:
            place = chance.randrange(HEADER, len(frame))
            flipped = frame[place] ^ 1 << chance.randrange(8)
            frame = frame[:place] + bytes([flipped]) + frame[place + 1 :]
        copies = 2 if chance.random() * 100 < self.duplicate else 1
        for _ in range(copies):
            self._enqueue(source, frame)

    def _enqueue(self, source: int, frame: bytes) -> None:
        now = time.monotonic()
        sent = now
        if self.rate > 0:
            start = max(now, self.busy_until[source])
            if start - now > QUEUE_SECONDS:
                return
            sent = self.busy_until[source] = start + len(frame) * 8 / self.rate
        wait = max(0.0, chance.gauss(self.delay, self.jitter)) if self.jitter else self.delay
        # In order, as on a real slow link.
        due = self.last[source] = max(sent + wait, self.last[source])
        self.count += 1
        heapq.heappush(self.queue, (due, self.count, self.other[source], frame))

    def deliver(self) -> float | None:
        """Send what is due; the result is the time until the next frame is, in seconds."""
        now = time.monotonic()
        while self.queue and self.queue[0][0] <= now:
            _, _, target, frame = heapq.heappop(self.queue)
            try:
                os.write(target, frame)
            except OSError:
                continue
        return max(0.0, self.queue[0][0] - now) if self.queue else None


def main() -> None:
    """Connect the interfaces and relay until killed."""
    config = json.loads(sys.argv[1])
    bridge, cable, own = config["bridge"], config["cable"], config["own_bridge"]
    near, far = open_tap(config["tap_a"]), open_tap(config["tap_b"])
    ip(
        [
            f"link add {own} type bridge forward_delay 0",
            f"link set {own} up",
            f"link set {config['tap_a']} master {bridge}",
            f"link set {config['tap_a']} up",
            f"link set {config['tap_b']} master {own}",
            f"link set {config['tap_b']} up",
            f"link set {cable} nomaster",
            f"link set {cable} master {own}",
        ]
    )
    link = Link(near, far, config["quality"])
    while True:
        ready, _, _ = select.select([near, far], [], [], link.deliver())
        for tap in ready:
            for _ in range(FRAMES_AT_ONCE):
                try:
                    frame = os.read(tap, 65536)
                except BlockingIOError:
                    break
                link.accept(tap, frame)


if __name__ == "__main__":
    main()
