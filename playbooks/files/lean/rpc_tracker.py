"""TVM's RPC tracker without TVM: servers register here, clients ask for one by key and get it when it is free.

    python3 -I rpc_tracker.py [--host 127.0.0.1] [--port 9190] [--with-parent]

It has no authentication: whoever reaches it can send clients anywhere. Loopback only, unless told otherwise.
Standard library only, Python 3.5 or newer.
"""

import argparse
import errno
import heapq
import json
import os
import selectors
import signal
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python3 -I leaves it out
import wire  # noqa: E402

LONGEST_UNSENT = 1 << 20  # bytes; a peer that does not read its answers is dropped


def main(arguments):
    """Serves until SIGTERM. Exit status 1 and one line when it cannot begin."""
    found = argparse.ArgumentParser(description="TVM's RPC tracker without TVM")
    found.add_argument("--host", default="127.0.0.1")
    found.add_argument("--port", type=int, default=9190)
    found.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    options = found.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        listener = wire.listen(options.host, options.port, 64)
    except OSError as error:
        sys.stderr.write("the RPC tracker cannot start: %s\n" % error)
        return 1
    print("TVM's RPC tracker waits on %s:%d" % listener.getsockname()[:2])
    sys.stdout.flush()
    try:
        Tracker(listener, sys.stdin if options.with_parent else None).serve()
    except KeyboardInterrupt:
        return 0


class Queue(object):
    """The servers of one key that are free, and the clients that wait for one; urgent clients first, then in turn."""

    def __init__(self):
        self.free = []  # Offer
        self.waiting = []  # heap of (-priority, number, Peer)
        self._count = 0

    def request(self, peer, priority):
        """`peer` wants a server."""
        self._count += 1
        heapq.heappush(self.waiting, (-priority, self._count, peer))
        self.match()

    def forget(self, peer):
        """`peer` has left: it neither waits nor offers anything."""
        self.free = [offer for offer in self.free if offer.owner is not peer]
        self.waiting = [entry for entry in self.waiting if entry[2] is not peer]
        heapq.heapify(self.waiting)

    def match(self):
        """Give free servers to waiting clients."""
        while self.free and self.waiting:
            peer = heapq.heappop(self.waiting)[2]
            offer = self.free.pop(0)
            offer.owner.pending.discard(offer.matchkey)
            peer.say([wire.SUCCESS, [offer.host, offer.port, offer.matchkey]])


class Offer(object):
    """One server that is free; it is good for one client."""

    def __init__(self, owner, host, port, matchkey):
        self.owner, self.host, self.port, self.matchkey = owner, host, port, matchkey


class Peer(object):
    """A connection of a server or a client."""

    def __init__(self, connection, host):
        self.connection = connection
        self.host = host
        self.greeted = False
        self.received = b""
        self.unsent = b""
        self.about = {}  # what a server says of itself
        self.pending = set()  # match keys that no client has got yet

    def say(self, value):
        """Queue an answer."""
        data = json.dumps(value).encode("utf-8")
        self.unsent += wire.number(len(data)) + data

    def messages(self):
        """The complete messages that have arrived. Raises WireError for what is none."""
        if not self.greeted and len(self.received) >= 4:
            if self.received[:4] != wire.number(wire.TRACKER_MAGIC):
                raise wire.WireError("does not speak the tracker's protocol")
            self.greeted = True
            self.received = self.received[4:]
            self.unsent += wire.number(wire.TRACKER_MAGIC)
        while self.greeted and len(self.received) >= 4:
            size = struct.unpack("<i", self.received[:4])[0]
            if not 0 <= size <= wire.LONGEST_MESSAGE:
                raise wire.WireError("announced a message of %d bytes" % size)
            if len(self.received) < 4 + size:
                return
            text, self.received = self.received[4 : 4 + size], self.received[4 + size :]
            yield wire.read_json(text.decode("utf-8"))


class Tracker(object):
    """All connections, in one thread."""

    def __init__(self, listener, parent=None):
        """`parent` is a stream at whose end the tracker ends, too."""
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._queues = {}
        self._peers = set()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._parent = parent
        if parent is not None:
            self._selector.register(parent, selectors.EVENT_READ, parent)

    def serve(self):
        """Returns when the parent is gone; without one it does not."""
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    self._accept()
                elif key.data is self._parent:
                    if not os.read(self._parent.fileno(), 4096):
                        return
                elif key.data in self._peers:
                    self._hear(key.data, events)
            self._flush()

    def _accept(self):
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                for peer in [one for one in self._peers if not one.greeted]:
                    self._drop(peer, "it said nothing, and others want to connect")
            return  # or it has left again
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(connection, address[0])
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _hear(self, peer, events):
        try:
            if events & selectors.EVENT_READ:
                piece = peer.connection.recv(65536)
                if not piece:
                    self._drop(peer, "")
                    return
                peer.received += piece
                for message in peer.messages():
                    self._answer(peer, message)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(peer, error)
        except (wire.WireError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            self._drop(peer, "what it said makes no sense (%s)" % error)

    def _answer(self, peer, message):
        code = message[0]
        if code == wire.PUT:
            key, (port, matchkey) = message[1], message[2]
            host = message[3] if len(message) > 3 and message[3] is not None else peer.host
            peer.pending.add(matchkey)
            queue = self._queue(key)
            queue.free.append(Offer(peer, host, port, matchkey))
            peer.say(wire.SUCCESS)
            queue.match()
        elif code == wire.REQUEST:
            self._queue(message[1]).request(peer, message[3])
        elif code == wire.PENDING_MATCHKEYS:
            peer.say(sorted(peer.pending))
        elif code == wire.UPDATE_INFO:
            about = dict(message[1])
            about["addr"] = [about["addr"][0] or peer.host] + about["addr"][1:]
            peer.about.update(about)
            peer.say(wire.SUCCESS)
        elif code == wire.SUMMARY:
            peer.say([wire.SUCCESS, self.summary()])
        elif code == wire.PING:
            peer.say(wire.SUCCESS)
        elif code == wire.STOP:
            peer.say(wire.FAIL)  # systemd stops it, no client does
        else:
            raise wire.WireError("code %r" % (code,))

    def summary(self):
        """As TVM's tracker gives it: queues, and the servers that are connected."""
        queues = {}
        for key, queue in self._queues.items():
            queues[key] = {"free": len(queue.free), "pending": len(queue.waiting)}
        servers = [peer.about for peer in self._peers if str(peer.about.get("key", "")).startswith("server")]
        return {"queue_info": queues, "server_info": servers}

    def _queue(self, key):
        return self._queues.setdefault(str(key), Queue())

    def _flush(self):
        for peer in list(self._peers):
            if peer.unsent:
                try:
                    peer.unsent = peer.unsent[peer.connection.send(peer.unsent) :]
                except BlockingIOError:
                    pass
                except OSError as error:
                    self._drop(peer, error)
                    continue
                if len(peer.unsent) > LONGEST_UNSENT:
                    self._drop(peer, "it does not read its answers")
                    continue
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.unsent else 0)
            self._selector.modify(peer.connection, wanted, peer)

    def _drop(self, peer, why):
        self._peers.discard(peer)
        self._selector.unregister(peer.connection)
        peer.connection.close()
        for queue in self._queues.values():
            queue.forget(peer)
        if why:
            print("%s: %s" % (peer.host, why))
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
