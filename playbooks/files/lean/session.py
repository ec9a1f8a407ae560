"""One client's session: a process of its own in a folder of its own, both gone when it ends, however it ends.

Standard library only, Python 3.5 or newer.
"""

import ctypes
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback

import linking
from capi import TvmError

GRACE_SECONDS = 5.0  # what a session has to end itself once its client is gone
LINGERING = 8  # connections of clients whose time was over that stay open
POLLRDHUP = 0x2000  # Linux: the other side has closed; Python names it from 3.7 on
PR_SET_PDEATHSIG = 1
EXPIRED = 'RPCSessionTimeoutError: Your %ss session has expired, try to increase the "session_timeout" value.'


class Sessions(object):
    """Serves clients with one runtime. `libraries` are loaded beside it; `close_in_child` a session must not keep."""

    def __init__(self, runtime, libraries, close_in_child, log):
        self._runtime = runtime
        self._libraries = libraries
        self._close_in_child = close_in_child
        self._log = log
        self._told = []
        self._scratch = tempfile.gettempdir()  # asked once: were it gone later, Python would take another folder
        self._serving = self._stopped = False
        # A signal, that of a child's end too, writes a byte here: whoever polls wakes up.
        self._wake, wakes = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wakes, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes)

    def stop(self):
        """For a signal's handler: end the session that is running, or this process when there is none."""
        if not self._serving:
            sys.exit(0)
        self._stopped = True

    def serve(self, peer, seconds):
        """Serve the client on the socket `peer` until it leaves, or `seconds` (None: no limit) have passed."""
        self._serving = True
        folder = None
        sys.stdout.flush()
        started = time.monotonic()
        try:
            folder = tempfile.mkdtemp(prefix="tvm-session-", dir=self._scratch)
            child = os.fork()
            if child == 0:
                self._child(peer, folder)
            late = not self._ended(child, peer, seconds)
            _end_group(child)
            if late:
                self._tell(peer, seconds)
            status = os.waitpid(child, 0)[1]
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            self._serving = False
        how = ": its time was over" if late else _how(status)
        self._log("session ended after %.1f s%s" % (time.monotonic() - started, how))
        if self._stopped:
            sys.exit(0)

    def _ended(self, child, peer, seconds):
        # Wait for the session's end; False when its time is over. A client that is gone leaves it GRACE_SECONDS.
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(peer, POLLRDHUP)
        end = None if seconds is None else time.monotonic() + seconds
        gone = None
        while not _exited(child) and not self._stopped:
            limits = [limit for limit in (end, gone) if limit is not None]
            left = max(0.0, min(limits) - time.monotonic()) if limits else None
            ready = [descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000 + 1)]
            if self._wake in ready:
                os.read(self._wake, 4096)
            if peer.fileno() in ready:
                poll.unregister(peer)
                gone = time.monotonic() + GRACE_SECONDS
            if gone is not None and time.monotonic() >= gone:
                return True
            if end is not None and time.monotonic() >= end:
                return False
        return True

    def _tell(self, peer, seconds):
        # What TVM's own server says to a client whose time is over. Runtimes before 0.14 cannot.
        if not self._runtime.has("rpc.ReturnException"):
            return
        peer.setblocking(False)  # a client that does not read must not hold us
        try:
            self._runtime.call("rpc.ReturnException", peer.fileno(), EXPIRED % seconds)
        except TvmError as error:
            self._log("cannot tell the client that its time is over: %s" % error)
        self._linger(peer)

    def _linger(self, peer):
        # Were it closed now, the client's next request would be answered by a reset, and that drops what the client
        # has not read yet: the reason.
        try:
            held = peer.dup()
            self._told.append(held)
            held.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone
        while len(self._told) > LINGERING:
            self._told.pop(0).close()

    def _child(self, peer, folder):
        # The session itself; never returns.
        code = 1
        try:
            os.setpgid(0, 0)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(name, signal.SIG_DFL)
            for other in self._close_in_child + self._told:
                other.close()
            os.chdir(folder)
            _environment(self._runtime, folder)
            loaded = [ctypes.CDLL(library, ctypes.RTLD_GLOBAL) for library in self._libraries]
            peer.setblocking(True)
            self._runtime.call("rpc.ServerLoop", peer.fileno())
            del loaded
            code = 0
        except TvmError as error:
            sys.stderr.write("session: %s\n" % error)
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _exited(child):
    """Whether the process has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(child):
    """End the session and what it started, a compiler for example."""
    try:
        os.killpg(child, signal.SIGKILL)
    except OSError:
        pass  # it has ended, and nothing of it is left
    try:
        os.kill(child, signal.SIGKILL)  # should it not yet have made its group
    except OSError:
        pass


def _how(status):
    if os.WIFSIGNALED(status):
        return ": it ended by %s" % signal.Signals(os.WTERMSIG(status)).name
    return " with an error" if os.WEXITSTATUS(status) else ""


def _environment(runtime, folder):
    """The functions that clients call by name, as TVM's Python server and its C++ server have them."""

    def path_of(name):
        return os.path.join(folder, name)

    def linked(name):
        try:
            return linking.shared_library(path_of(name))
        except linking.LinkError as error:
            raise TvmError(str(error))

    def read_linked(name):
        with open(linked(name), "rb") as stream:
            return stream.read()

    runtime.register("tvm.rpc.server.workpath", path_of)
    runtime.register("tvm.rpc.server.load_module", lambda name: runtime.load_module(linked(name)))
    runtime.register("tvm.rpc.server.download_linked_module", read_linked)
    runtime.register(
        "tvm.rpc.server.listdir",
        lambda name: "".join("%s," % os.path.join(path_of(name), entry) for entry in sorted(os.listdir(path_of(name)))),
    )
