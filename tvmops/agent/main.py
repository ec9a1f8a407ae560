"""The agent's life: say ready, run batches until told to end, leave nothing behind."""

import os
import pwd
import signal
import sys

from . import PROTOCOL
from .protocol import ProtocolError, Wire, take_over_stdio

KEEP_BLOBS = "TVMOPS_KEEP_BLOBS"  # set to 1: blobs stay in the cache after the run


def serve(cache):
    """Run the agent on standard input and output -> its exit status."""
    from .services import Services

    wire = Wire(*take_over_stdio())
    services = Services(cache, wire, os.environ.pop(KEEP_BLOBS, "") == "1")
    _watch_signals(wire, services)
    wire.start()
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    wire.emit("ready", protocol=PROTOCOL, python="%d.%d.%d" % sys.version_info[:3], pid=os.getpid(), uid=uid, user=user)
    try:
        return _run_batches(wire, services)
    finally:
        services.close()


def _run_batches(wire, services):
    while True:
        try:
            message = wire.receive()
            if message is None:
                return 1 if wire.gone else 0
            if message["op"] == "end":
                return 0
            if message["op"] == "batch":
                from . import runner

                runner.run_batch(message, wire, services)
        except ProtocolError as error:
            wire.emit("fatal", msg="the agent cannot understand the controller: %s" % error)
            return 2
        except Exception as error:
            wire.emit("fatal", msg="the agent has a fault of its own: %s: %s" % (type(error).__name__, error))
            raise


def _watch_signals(wire, services):
    def finish(number, frame):
        wire.hang_up()

    def terminate(number, frame):
        def leave():
            become = _loaded("become")
            if become is not None:
                become.terminate_children()
            services.close()
            os._exit(128 + number)

        process = _loaded("process")
        if process is None:
            leave()
        else:
            process.end_all(leave)

    # A lost terminal or Ctrl-C: the running task ends in order, then the agent does.
    signal.signal(signal.SIGHUP, finish)
    signal.signal(signal.SIGINT, finish)
    signal.signal(signal.SIGTERM, terminate)


def _loaded(module):
    """A module of the agent, if something has needed it already."""
    return sys.modules.get("%s.%s" % (__package__, module))
