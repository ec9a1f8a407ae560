"""TVM's RPC server for boards without numpy and TVM's Python: drives libtvm_runtime.so (TVM 0.8 to 0.19) by ctypes.

    python3 -I rpc_server.py --lib /opt/tvmops/current/lib/libtvm_runtime.so --port 9090
                             [--host 127.0.0.1] [--key K] [--tracker HOST:PORT] [--custom-addr HOST[:PORT]]
                             [--load-library PATH]...

TVM's RPC has no authentication and runs what it is sent: loopback only, unless told otherwise.
Standard library only, Python 3.5 or newer.
"""

import argparse
import os
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python3 -I leaves it out
import capi  # noqa: E402
import registration  # noqa: E402
import session  # noqa: E402
import wire  # noqa: E402

HANDSHAKE_SECONDS = 5.0
WAITING_CLIENTS = 16
LONGEST_SESSION = 1e7  # seconds
TIMEOUT_OPTION = "-timeout="


def main(arguments):
    """Serves until SIGTERM or SIGINT, which end it with 0. Exit status 1 and one line when it cannot begin."""
    options = parser().parse_args(arguments)
    try:
        runtime = capi.Runtime(options.lib)
        if not runtime.has("rpc.ServerLoop"):
            raise OSError("%s was built without USE_RPC" % options.lib)
        listener = wire.listen(options.host, options.port, WAITING_CLIENTS)
    except (OSError, AttributeError) as error:
        sys.stderr.write("the RPC server cannot start: %s\n" % error)
        return 1
    server = Server(runtime, listener, options)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, server.stop)
    try:
        server.serve()
    finally:
        server.close()


def parser():
    """The command line."""
    found = argparse.ArgumentParser(description="TVM's RPC server without TVM's Python")
    found.add_argument("--lib", required=True, help="libtvm_runtime.so")
    found.add_argument("--host", default="127.0.0.1")
    found.add_argument("--port", type=int, default=9090)
    found.add_argument("--key", default="", help="what clients ask for")
    found.add_argument("--tracker", type=_address, metavar="HOST:PORT")
    found.add_argument("--custom-addr", type=_custom, metavar="HOST[:PORT]", help="what the tracker tells clients")
    found.add_argument("--load-library", action="append", default=[], metavar="PATH")
    return found


def _address(text):
    try:
        return wire.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error))


def _custom(text):
    return _address(text) if ":" in text else (text, None)


def log(text):
    """A line for the journal."""
    print(text)
    sys.stdout.flush()


class Server(object):
    """Serves one client after the other; those that come meanwhile wait in the listening queue."""

    def __init__(self, runtime, listener, options):
        self._listener = listener
        self._key = options.key
        self._entry = None
        port = listener.getsockname()[1]
        if options.tracker:
            self._entry = registration.Registration(options.tracker, options.key, port, options.custom_addr, log)
        own = [listener] + ([self._entry] if self._entry else [])
        self._sessions = session.Sessions(runtime, options.load_library, own, log)
        log("TVM's RPC server (%s) waits on %s:%d" % (runtime.path, listener.getsockname()[0], port))

    def serve(self):
        """Does not return."""
        while True:
            peer, seconds = self._next_client()
            with peer:
                try:
                    self._sessions.serve(peer, seconds)
                except OSError as error:  # no room for its folder, no process left
                    log("no session: %s" % error)
            if self._entry:
                self._entry.renew()

    def stop(self, *_signal):
        """The handler of signals that end the server."""
        self._sessions.stop()

    def close(self):
        """Give the port back and leave the tracker."""
        self._listener.close()
        if self._entry:
            self._entry.close()

    def _next_client(self):
        """(socket, seconds or None) of a client that has the right key; whoever has not is sent away."""
        while True:
            self._wait()
            try:
                peer, address = self._listener.accept()
            except OSError:
                continue  # it has left again
            try:
                seconds = self._welcome(peer)
            except (OSError, ValueError, wire.WireError) as error:
                peer.close()
                log("client %s: %s" % (address[0], error))
                continue
            log("client %s: session begins%s" % (address[0], "" if seconds is None else ", %g s at most" % seconds))
            return peer, seconds

    def _wait(self):
        """Until a client is there; the entry in the tracker is looked after meanwhile."""
        if self._entry is None:
            select.select([self._listener], [], [])
            return
        self._entry.keep()
        while not select.select([self._listener], [], [], registration.PERIOD)[0]:
            self._entry.keep()

    def _welcome(self, peer):
        """How long the client wants to stay (None: no limit). Raises WireError when it has to go, OSError."""
        end = time.monotonic() + HANDSHAKE_SECONDS
        if wire.receive_number(peer, end) != wire.MAGIC:
            raise wire.WireError("does not speak TVM's RPC protocol")
        words = wire.receive_text(peer, wire.LONGEST_KEY, end).split()
        wanted = "client:" + (self._entry.matchkey if self._entry else self._key)
        if words[:1] != [wanted]:
            peer.sendall(wire.number(wire.MISMATCH))
            raise wire.WireError("mismatch key")
        limits = [float(word[len(TIMEOUT_OPTION) :]) for word in words[1:] if word.startswith(TIMEOUT_OPTION)]
        if not all(0 < limit < LONGEST_SESSION for limit in limits):
            raise wire.WireError("asks for a session of %s" % words[1:])
        own = ("server:" + self._key).encode("utf-8")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(wire.number(wire.MAGIC) + wire.number(len(own)) + own)
        return limits[-1] if limits else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
