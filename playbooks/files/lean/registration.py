"""A server's entry in a tracker: kept up while the server waits, made anew whenever it was lost or used.

Standard library only, Python 3.5 or newer.
"""

import socket
import time

import wire

PERIOD = 2.0  # seconds between looks, as TVM's servers do
UNUSED_LOOKS = 3  # a match key that a client took and did not use is replaced after so many
RETRY_SECONDS = 5.0
ANSWER_SECONDS = 5.0


class Registration(object):
    """One server in one tracker. Nothing here raises: a tracker that is away is asked again later."""

    def __init__(self, tracker, key, port, custom_address, log):
        """`tracker` is (host, port); `custom_address` (host, port) is told to clients, either may be None."""
        self.tracker = tracker
        self.key = key
        self.matchkey = wire.fresh_matchkey(key)
        host, other_port = custom_address or (None, None)
        self.host, self.port = host, other_port or port
        self._log = log
        self._peer = None
        self._next_try = 0.0
        self._unused = 0
        self._away = False

    def renew(self):
        """Offer the server again, under a new match key: the old one has served its client."""
        self.matchkey = wire.fresh_matchkey(self.key)
        self._unused = 0
        if self._peer is None:
            self.keep()
        else:
            self._say(self._put)

    def keep(self):
        """Called every PERIOD seconds while the server waits."""
        if self._peer is None:
            if time.monotonic() >= self._next_try:
                self._next_try = time.monotonic() + RETRY_SECONDS
                self._say(self._connect)
            return
        self._say(self._look)

    def close(self):
        """Leave the tracker, which forgets the server at once."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def _say(self, what):
        try:
            what()
        except (OSError, wire.WireError) as error:
            self.close()
            if not self._away:
                self._log("tracker %s:%d: %s; trying again every %.0f s" % (self.tracker + (error, RETRY_SECONDS)))
            self._away = True

    def _connect(self):
        self._peer = socket.create_connection(self.tracker, ANSWER_SECONDS)
        self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer.sendall(wire.number(wire.TRACKER_MAGIC))
        if wire.receive_number(self._peer, _end()) != wire.TRACKER_MAGIC:
            raise wire.WireError("it is not an RPC tracker")
        self._ask([wire.UPDATE_INFO, {"key": "server:" + self.key, "addr": [self.host, self.port]}])
        self._put()
        self._away = False
        self._log("registered as '%s' with the tracker %s:%d" % ((self.key,) + self.tracker))

    def _put(self):
        self._ask([wire.PUT, self.key, [self.port, self.matchkey], self.host])

    def _look(self):
        wire.send_json(self._peer, [wire.PENDING_MATCHKEYS])
        pending = wire.receive_json(self._peer, _end())
        if not isinstance(pending, list):
            raise wire.WireError("it answered %r" % (pending,))
        self._unused = 0 if self.matchkey in pending else self._unused + 1
        if self._unused > UNUSED_LOOKS:
            self._log("a client asked the tracker for this server and did not come; offering it anew")
            self.renew()

    def _ask(self, message):
        self._peer.settimeout(ANSWER_SECONDS)
        wire.send_json(self._peer, message)
        if wire.receive_json(self._peer, _end()) != wire.SUCCESS:
            raise wire.WireError("it refused to register")


def _end():
    return time.monotonic() + ANSWER_SECONDS
