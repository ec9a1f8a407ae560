"""What TVM's RPC server, tracker and clients say to each other before (and beside) the calls themselves.

Standard library only, Python 3.5 or newer.
"""

import json
import random
import socket
import struct
import time

MAGIC = 0xFF271
MISMATCH = MAGIC + 2
TRACKER_MAGIC = 0x2F271
LONGEST_KEY = 4096  # bytes
LONGEST_MESSAGE = 1 << 20  # bytes; a tracker's summary of a large fleet is some 10 KB

# TrackerCode of tvm/rpc/base.py
FAIL, SUCCESS, PING, STOP, PUT, REQUEST, UPDATE_INFO, SUMMARY, PENDING_MATCHKEYS = -1, 0, 1, 2, 3, 4, 5, 6, 7


class WireError(Exception):
    """The other side left, was silent for too long, or speaks something else."""


def number(value):
    """An int32 as it is sent."""
    return struct.pack("<i", value)


def receive(peer, count, end):
    """Exactly `count` bytes, before `end` on the monotonic clock. Raises WireError, socket.timeout, OSError."""
    data = b""
    while len(data) < count:
        left = end - time.monotonic()
        if left <= 0:
            raise WireError("it was silent for too long")
        peer.settimeout(left)
        piece = peer.recv(count - len(data))
        if not piece:
            raise WireError("it closed the connection")
        data += piece
    return data


def receive_number(peer, end):
    """An int32, before `end`."""
    return struct.unpack("<i", receive(peer, 4, end))[0]


def receive_text(peer, longest, end):
    """A text with its length before it."""
    length = receive_number(peer, end)
    if not 0 <= length <= longest:
        raise WireError("it announced a text of %d bytes" % length)
    return receive(peer, length, end).decode("utf-8", "replace")


def send_json(peer, value):
    """One message of the tracker's protocol; waits as long as the socket's timeout says."""
    data = json.dumps(value).encode("utf-8")
    peer.sendall(number(len(data)) + data)


def receive_json(peer, end):
    """One message of the tracker's protocol. Raises WireError, socket.timeout, OSError."""
    return read_json(receive_text(peer, LONGEST_MESSAGE, end))


def read_json(text):
    """What a message says. Raises WireError."""
    try:
        return json.loads(text)
    except (ValueError, RuntimeError):  # RuntimeError: brackets in brackets without end
        raise WireError("it sent something that is no JSON")


def fresh_matchkey(key):
    """A key that only the client knows to whom the tracker gave it."""
    return "%s:%s" % (key, random.SystemRandom().random())


def address(text):
    """ "host:port" -> (host, port). Raises ValueError."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("'%s' is not HOST:PORT" % text)
    return host.strip("[]"), int(port)


def listen(host, port, waiting):
    """The listening socket, in whose queue `waiting` clients have room. Raises OSError."""
    family = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0][0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError("%s port %d: %s" % (host, port, error.strerror))
    listener.listen(waiting)
    return listener
