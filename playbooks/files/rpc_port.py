"""Look at a board's RPC port from inside: who listens, does it answer TVM's handshake, is a session running.

    python3 rpc_port.py state PORT            one JSON object
    python3 rpc_port.py free PORT             fails when a program other than TVM's RPC server has the port
    python3 rpc_port.py wedged PORT           exit status 3 when it listens but neither answers nor serves a client
    python3 rpc_port.py busy PORT             exit status 3 when it serves a client
    python3 rpc_port.py outdated PORT KEY     exit status 3 when no server of the release KEY listens
    python3 rpc_port.py answer PORT SECONDS   waits until the server answers a handshake
    python3 rpc_port.py tracker PORT SECONDS  waits until a tracker answers

Standard library only, Python 3.5 or newer. Root sees every process; others see their own.
"""

import glob
import json
import os
import re
import socket
import struct
import sys
import time

MAGIC = 0xFF271
# A key no server has: it answers "mismatch" and starts no session. TVM's C++ server says nothing to keys that are
# shorter than its own.
PROBE_KEY = b"client:tvmops-probe".ljust(128, b".")
TRACKER_MAGIC = 0x2F271
TRY_SECONDS = 3.0
# What the command lines of RPC servers have in common: TVM's own, the lean one, TVM's in C++.
SERVERS = ("tvm.exec.", "/libexec/rpc_server.py ", "/bin/tvm_rpc server ")
LISTEN, ESTABLISHED = "0A", "01"


def main(arguments):
    """Exit status 0 when all is well; else 1 and one line that says what is not."""
    action, port = arguments[0], int(arguments[1])
    if action == "state":
        print(json.dumps(state(port), sort_keys=True))
        return 0
    if action == "free":
        return _report(foreign(port))
    if action == "wedged":
        problem = wedged(port)
        return 3 if _report(problem) else 0
    if action == "busy":
        return 3 if _report(busy(port)) else 0
    if action == "outdated":
        return 3 if _report(outdated(port, arguments[2])) else 0
    if action == "answer":
        return _report(wait_for_answer(port, float(arguments[2])))
    if action == "tracker":
        return _report(wait_for_tracker(port, float(arguments[2])))
    sys.stderr.write(__doc__)
    return 2


def _report(problem):
    if problem:
        print(problem)
    return 1 if problem else 0


def state(port):
    """{"listener": {pid, name, command, tvm, release} or None, "sessions": pids that serve a client, "clients": n}."""
    sockets = _sockets(port)
    listening = {inode for inode, status in sockets.items() if status == LISTEN}
    clients = sum(1 for status in sockets.values() if status == ESTABLISHED)
    if not listening:
        return {"listener": None, "sessions": [], "clients": clients}
    holders = _holders(set(sockets))
    # Sessions are forks of the listener. Those of TVM's own server inherit its socket: the oldest holder listens.
    listeners = sorted((pid for pid, held in holders.items() if held & listening), key=_started)
    if not listeners:
        unknown = {"pid": None, "name": None, "command": None, "tvm": None, "release": None}
        return {"listener": unknown, "sessions": [], "clients": clients}
    first = listeners[0]
    command = _command(first)
    return {
        "listener": {
            "pid": first,
            "name": _read("/proc/%d/comm" % first).strip(),
            "command": command,
            "tvm": any(words in command for words in SERVERS),
            "release": _release(first),
        },
        "sessions": sorted((pid for pid in holders if pid != first), key=_started),
        "clients": clients,
    }


def foreign(port):
    """Why TVM's RPC server cannot have the port; None when it is free or already its own."""
    listener = state(port)["listener"]
    if listener is None or listener["tvm"]:
        return None
    if listener["pid"] is None:
        return "port %d is taken by a program of another user; set tvm_rpc_port to a free port" % port
    return "port %d is taken by %s (pid %d: %s); stop it, or set tvm_rpc_port to a free port" % (
        port,
        listener["name"],
        listener["pid"],
        listener["command"][:200],
    )


def wedged(port):
    """What is wrong with a server that has the port; None when it is well, busy or not there."""
    listener = state(port)["listener"]
    if listener is None or not listener["tvm"]:
        return None
    return handshake(port, TRY_SECONDS)


def busy(port):
    """Whom the server serves at this moment; None when it may be restarted."""
    found = state(port)
    listener = found["listener"]
    if listener is None or not listener["tvm"] or not found["sessions"]:
        return None
    return "the RPC server on port %d serves a client (pid %d): a measurement may be running" % (
        port,
        found["sessions"][0],
    )


def outdated(port, key):
    """What is running instead of a server of the release `key`; None when that one runs."""
    listener = state(port)["listener"]
    if listener is None:
        return "nothing listens on port %d" % port
    if listener["release"] in (key, None):
        return None  # of a server of another user nothing is known
    return "the RPC server is of release %s" % listener["release"]


def wait_for_answer(port, seconds):
    """None as soon as the server answers; why it does not when the time is over."""
    end = time.monotonic() + seconds
    while True:
        problem = handshake(port, min(TRY_SECONDS, max(0.5, end - time.monotonic())))
        if problem is None:
            return None
        if time.monotonic() >= end:
            return foreign(port) or "TVM's RPC server on port %d: %s (waited %.0f s)" % (port, problem, seconds)
        time.sleep(0.25)


def wait_for_tracker(port, seconds):
    """None as soon as a tracker answers; why none does when the time is over."""
    end = time.monotonic() + seconds
    while True:
        problem = _greeting(port, min(TRY_SECONDS, max(0.5, end - time.monotonic())))
        if problem is None or time.monotonic() >= end:
            return problem and "TVM's RPC tracker on port %d: %s (waited %.0f s)" % (port, problem, seconds)
        time.sleep(0.25)


def _greeting(port, seconds):
    try:
        with socket.create_connection(("127.0.0.1", port), seconds) as peer:
            peer.sendall(struct.pack("<i", TRACKER_MAGIC))
            answer = peer.recv(4)
    except (socket.error, socket.timeout) as error:
        return "does not answer (%s)" % error
    return None if answer == struct.pack("<i", TRACKER_MAGIC) else "answered %r, which is no tracker's" % answer


def handshake(port, seconds):
    """None when a TVM RPC server answered on 127.0.0.1:`port`; else what happened instead."""
    try:
        peer = socket.create_connection(("127.0.0.1", port), seconds)
    except (socket.error, socket.timeout) as error:
        return "nothing listens (%s)" % error
    try:
        peer.settimeout(seconds)
        peer.sendall(struct.pack("<ii", MAGIC, len(PROBE_KEY)) + PROBE_KEY)
        answer = peer.recv(4)
    except socket.timeout:
        if state(port)["sessions"]:
            return None  # alive: it serves one client after the other
        return "does not answer although something listens"
    except socket.error as error:
        return "broke the connection (%s)" % error
    finally:
        peer.close()
    if len(answer) == 4 and 0 <= struct.unpack("<i", answer)[0] - MAGIC <= 2:
        return None
    return "answered %r, which is not TVM's RPC protocol" % answer


def _sockets(port):
    """{inode: state} of the IPv4 and IPv6 sockets whose local port is `port`."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                found[fields[9]] = fields[3]
    found.pop("0", None)
    return found


def _holders(inodes):
    """{process: those of the sockets that it holds}."""
    wanted = {"socket:[%s]" % inode: inode for inode in inodes}
    found = {}
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            links = {os.readlink(os.path.join(folder, "fd", name)) for name in os.listdir(folder + "/fd")}
        except OSError:
            continue
        held = {wanted[link] for link in links if link in wanted}
        if held:
            found[int(os.path.basename(folder))] = held
    return found


def _started(pid):
    text = _read("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return (int(text[19]) if len(text) > 19 else 0, pid)


def _command(pid):
    return _read("/proc/%d/cmdline" % pid).replace("\0", " ").strip()


def _release(pid):
    match = re.search(r"/releases/([0-9a-f]{16})/", _read("/proc/%d/maps" % pid))
    return match.group(1) if match else None


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
