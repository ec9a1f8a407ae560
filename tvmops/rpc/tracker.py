"""TVM's RPC tracker from outside: what it knows, asking it for a server, and a board's own entry in it."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvmops.errors import RpcError
from tvmops.rpc.handshake import receive

MAGIC = 0x2F271
LONGEST_MESSAGE = 1 << 20  # bytes
ANSWER_SECONDS = 5.0
PERIOD = 2.0  # seconds between looks at an entry, as TVM's servers do
UNUSED_LOOKS = 3  # a match key that a client took and did not use is replaced after so many
# TrackerCode of tvm/rpc/base.py
SUCCESS, PUT, REQUEST, UPDATE_INFO, SUMMARY, PENDING_MATCHKEYS = 0, 3, 4, 5, 6, 7

Address = tuple[str, int]


@dataclass(frozen=True)
class KeySummary:
    """One key at a tracker: servers that are free, clients that wait, and the addresses of all its servers."""

    key: str
    free: int
    waiting: int
    servers: tuple[Address, ...]


class TrackerPeer:
    """A connection to a tracker. Every method raises RpcError when the tracker does not answer in time."""

    def __init__(self, address: Address, seconds: float = ANSWER_SECONDS) -> None:
        self._where = f"the RPC tracker {address[0]}:{address[1]}"
        with self._told():
            self._socket = socket.create_connection(address, seconds)
        try:
            with self._told():
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.sendall(struct.pack("<i", MAGIC))
                if receive(self._socket, 4, time.monotonic() + seconds) != struct.pack("<i", MAGIC):
                    raise RpcError(f"{self._where}: is no RPC tracker")
        except BaseException:
            self.close()
            raise

    def summary(self) -> dict[str, KeySummary]:
        """What it knows, by key."""
        answer = self._ask([SUMMARY])
        try:
            queues, servers = answer[1]["queue_info"], answer[1]["server_info"]
            by_key: dict[str, list[Address]] = {key: [] for key in queues}
            for one in servers:
                key = str(one["key"]).removeprefix("server:")
                by_key.setdefault(key, []).append((str(one["addr"][0]), int(one["addr"][1] or 0)))
            return {
                key: KeySummary(key, int(queue.get("free", 0)), int(queue.get("pending", 0)), tuple(servers))
                for key, servers in sorted(by_key.items())
                for queue in [queues.get(key, {})]
            }
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise RpcError(f"{self._where}: its summary makes no sense ({error})") from None

    def request(self, key: str, seconds: float) -> tuple[str, int, str]:
        """(address, port, match key) of a server of this key, waited for at most `seconds`."""
        answer = self._ask([REQUEST, key, "", 1], seconds)
        try:
            code, (host, port, matchkey) = answer
            if code == SUCCESS:
                return str(host), int(port), str(matchkey)
        except (TypeError, ValueError):
            pass
        raise RpcError(f"{self._where}: answered a request for '{key}' with {answer!r}")

    def register(self, key: str, address: Address) -> None:
        """Say which server this connection stands for."""
        self._agreed([UPDATE_INFO, {"key": f"server:{key}", "addr": list(address)}])

    def put(self, key: str, address: Address, matchkey: str) -> None:
        """Offer the server at `address` to one client, which gets `matchkey`."""
        self._agreed([PUT, key, [address[1], matchkey], address[0]])

    def pending(self) -> list[str]:
        """The match keys of this connection that no client has got."""
        answer = self._ask([PENDING_MATCHKEYS])
        if not isinstance(answer, list):
            raise RpcError(f"{self._where}: answered {answer!r}")
        return answer

    def close(self) -> None:
        """Leave; the tracker forgets what this connection offered."""
        with contextlib.suppress(AttributeError, OSError):
            self._socket.close()

    def _agreed(self, message: list[Any]) -> None:
        if self._ask(message) != SUCCESS:
            raise RpcError(f"{self._where}: refused to register a server")

    def _ask(self, message: list[Any], seconds: float = ANSWER_SECONDS) -> Any:
        data = json.dumps(message).encode()
        end = time.monotonic() + seconds
        with self._told():
            self._socket.settimeout(seconds)
            self._socket.sendall(struct.pack("<i", len(data)) + data)
            size = struct.unpack("<i", receive(self._socket, 4, end))[0]
            if not 0 <= size <= LONGEST_MESSAGE:
                raise RpcError(f"{self._where}: announced a message of {size} bytes")
            try:
                return json.loads(receive(self._socket, size, end))
            except (ValueError, RecursionError):
                raise RpcError(f"{self._where}: sent something that is no JSON") from None

    @contextlib.contextmanager
    def _told(self) -> Any:
        try:
            yield
        except TimeoutError as error:
            raise RpcError(f"{self._where}: does not answer in time") from error
        except OSError as error:
            raise RpcError(f"{self._where}: {error.strerror or error}") from error


class Entry:
    """One board's entry in a tracker, made anew whenever it was lost. Nothing here raises: `problem` says why not.

    `tracker` says where the tracker is at this moment, or None; `address` is what it tells clients. `matchkey` is what
    the client must ask the board for to whom the tracker gives it; empty while the board was never offered.
    """

    def __init__(self, tracker: Callable[[], Address | None], key: str, address: Address) -> None:
        self.key = key
        self.matchkey = ""
        self.problem = ""
        self._tracker, self._address = tracker, address
        self._peer: TrackerPeer | None = None
        self._unused = 0

    def renew(self) -> None:
        """The board has served a client: what that one was told is worth nothing any longer."""
        self.matchkey = ""

    def keep(self, free: bool) -> None:
        """Called every PERIOD seconds: the board is in the tracker, offered when it is free, else not."""
        try:
            peer = self._joined()
            pending = peer.pending()
            if not free and pending:
                # The tracker forgets an offer with its connection only.
                self.withdraw()
                self._joined()
            elif free and not self._taken_up(pending):
                self.matchkey = f"{self.key}:{secrets.token_hex(8)}"
                self._unused = 0
                peer.put(self.key, self._address, self.matchkey)
            self.problem = ""
        except RpcError as error:
            self.withdraw()
            self.problem = error.message

    def withdraw(self) -> None:
        """Let the tracker forget the board."""
        self.matchkey = ""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def _joined(self) -> TrackerPeer:
        if self._peer is None:
            where = self._tracker()
            if where is None:
                raise RpcError("the RPC tracker is away")
            self.matchkey = ""
            self._peer = TrackerPeer(where)
            self._peer.register(self.key, self._address)
        return self._peer

    def _taken_up(self, pending: list[str]) -> bool:
        """Whether the offer stands, or a client got it and may still come."""
        if not self.matchkey:
            return False
        self._unused = 0 if self.matchkey in pending else self._unused + 1
        return self._unused <= UNUSED_LOOKS
