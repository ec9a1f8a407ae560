"""The agent's life: say ready, run batches until told to end, leave nothing behind.

A batch that was accepted is finished even when the controller goes away; its events stay in the run's spool then.
"""

import os
import pwd
import signal
import sys

from . import PROTOCOL
from .lease import clock
from .protocol import ProtocolError, Wire, take_over_stdio

KEEP_BLOBS = "TVMOPS_KEEP_BLOBS"  # set to 1: blobs stay in the cache after the run
FORGOTTEN = 900.0  # seconds without a word from a controller that says something every few: there is none any more
SEND_TIME = 10.0  # seconds that the last events have to get out
LOST_SEND_TIME = 1.0  # the same when the controller no longer talks, though it may still listen


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
    python = "%d.%d.%d" % sys.version_info[:3]
    wire.emit("ready", protocol=PROTOCOL, python=python, pid=os.getpid(), uid=uid, user=user, **services.situation())
    status = 4
    try:
        status = _run_batches(wire, services)
    finally:
        sent = wire.drain(LOST_SEND_TIME if wire.gone else SEND_TIME)
        services.close(delivered=status == 0 and sent)
    return status


def _run_batches(wire, services):
    wire.on_beat = lambda: _keep_lease(wire, services)
    while True:
        try:
            message = wire.receive()
            if message is None:
                return 1 if wire.gone or wire.stopping else 0
            if message["op"] == "end":
                return 0
            if message["op"] == "batch":
                _take_batch(message, wire, services)
            elif message["op"] in ("status", "steal", "interrupt", "follow", "forget"):
                from . import lost

                lost.answer(message, wire, services)
        except ProtocolError as error:
            wire.emit("fatal", msg="the agent cannot understand the controller: %s" % error)
            return 2
        except Exception as error:
            wire.emit("fatal", msg="the agent has a fault of its own: %s: %s" % (type(error).__name__, error))
            raise


def _take_batch(message, wire, services):
    holder = services.begin_run(message)
    if holder is not None:
        wire.emit("refused", id=message.get("id"), lease=services.situation()["lease"] or holder)
        return
    services.lease.note(running=True, heard=wire.heard)
    try:
        if services.accept(message):
            wire.emit("accepted", id=message.get("id"), kept=wire.spool is not None)
            from . import runner

            runner.run_batch(message, wire, services)
    finally:
        services.lease.note(running=False, heard=wire.heard)


def _keep_lease(wire, services):
    services.lease.keep(wire.heard, connected=not wire.gone)
    if services.has_run and not services.lease.held and clock() - wire.heard > FORGOTTEN:
        wire.hang_up()


def _watch_signals(wire, services):
    def lose(number, frame):
        wire.hang_up()

    def finish(number, frame):
        wire.finish_task()

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

    signal.signal(signal.SIGHUP, lose)
    # Ctrl-C on the board: the running task ends in order, then the agent does.
    signal.signal(signal.SIGINT, finish)
    signal.signal(signal.SIGTERM, terminate)


def _loaded(module):
    """A module of the agent, if something has needed it already."""
    return sys.modules.get("%s.%s" % (__package__, module))
