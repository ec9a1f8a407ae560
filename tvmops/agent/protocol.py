"""The wire to the controller: one JSON object per line each way, a heartbeat, and standard output kept clean.

One thread reads, another sends; whoever emits an event never waits for the link. The events of a run go to its spool
on the board first.
"""

import collections
import json
import os
import stat
import threading
import time

from .incoming import Messages
from .lease import SILENCE, clock
from .spool import encode, unusual

HEARTBEAT = 5.0  # seconds
LINGER = 0.02  # seconds that events of WAITING wait for others: each write costs both ends a packet of their own
WAITING = ("accepted", "start", "result", "done")
SPOOLED = ("start", "progress", "result", "done", "batch_end")
QUEUE_LIMIT = 4  # messages read ahead; a large blob must not pile up in a small board's memory
UNSENT_LIMIT = 8 * 1024 * 1024  # bytes of events in memory that a link has yet to take
REFERENCE = 64 * 1024  # bytes from which on an event is sent from the spool and not kept in memory
CHUNK = 256 * 1024  # bytes handed to the system at a time
STUCK_POLL = 0.1  # seconds between looks at a link that takes nothing, for events to go to the spool meanwhile


def take_over_stdio():
    """Move the wire off descriptors 0 and 1, so that no child and no print can touch it -> (in, out)."""
    source, sink = os.dup(0), os.dup(1)  # dup makes them non-inheritable
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, sink


class ProtocolError(Exception):
    """The controller sent something that is not a message."""


class Wire:
    """Messages in, events out. Events may come from any thread.

    `gone`: the controller's end is closed; `heard`: when something last came from there, by lease.clock().
    """

    unusual = staticmethod(unusual)

    def __init__(self, source, sink):
        self._source = source
        self._sink = sink
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._sent = threading.Condition(self._lock)
        self._unsent = collections.deque()  # lines, or their places in the spool
        self._unsent_bytes = 0
        self._out = bytearray()
        self._dead = False  # nothing that is sent arrives any more
        self._news = threading.Event()
        self._urgent = threading.Event()
        self._arrived = threading.Condition()
        self._queue = collections.deque()
        self._deferred = collections.deque()
        self._ended = False  # the controller said "end": nothing more is owed to it after the queue
        self._stop = False
        self.spool = None  # of the run whose batches are kept
        self.gone = False
        self.heard = clock()
        self.on_beat = None  # called every few seconds, and when the controller's end was closed

    @property
    def stopping(self):
        """True when no further task may begin: the controller said so, or it is gone and nobody keeps the run."""
        return self._stop or (self.gone and self.spool is None)

    def start(self):
        """Start reading and sending, each in a thread of its own."""
        mode = os.fstat(self._sink).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            os.set_blocking(self._sink, False)
        for work in (self._read, self._work):
            thread = threading.Thread(target=work)
            thread.daemon = True
            thread.start()

    def emit(self, event, **values):
        """Send one event: at once with all that waited, or after LINGER."""
        values["ev"] = event
        values["t"] = round(time.monotonic() - self._started, 3)
        line = encode(values)
        with self._lock:
            item = self._spooled(event, values, line) if self.spool is not None and event in SPOOLED else line
            if not isinstance(item, tuple):
                self._await_memory()
            self._append(item)
        self._wake(event not in WAITING)

    def forward(self, line, run):
        """Send a line of another run's spool; waits while the link is slow."""
        with self._lock:
            while self._unsent_bytes > CHUNK and not self._dead:
                self._sent.wait(1.0)
            self._append(b'{"ev": "followed", "run": %s, "event": %s}\n' % (json.dumps(run).encode("ascii"), line))
        self._wake(False)

    def drain(self, seconds):
        """Wait until all is sent, for so long at most; False when it was not."""
        end = time.monotonic() + seconds
        self._urgent.set()
        with self._lock:
            while (self._unsent or self._out) and not self._dead:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._sent.wait(left)
        return not self._dead

    def receive(self, wanted=None, timeout=None):
        """The next message (with an `op` among `wanted`); None at the end of input or after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if wanted is None and self._deferred:
                return self._deferred.popleft()
            with self._arrived:
                while not self._queue:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return None
                    self._arrived.wait(left)
                message = self._queue[0]
                if isinstance(message, dict):
                    self._queue.popleft()
                    self._arrived.notify_all()
            if message is None:
                return None
            if isinstance(message, str):
                raise ProtocolError(message)
            if wanted is None or message["op"] in wanted:
                return message
            self._deferred.append(message)

    def take_spool(self):
        """The spool, which no event reaches any more; safe in a signal handler."""
        held = self._lock.acquire(timeout=1.0)
        spool, self.spool = self.spool, None
        if held:
            self._lock.release()
        return spool

    def finish_task(self):
        """Begin no further task; safe in a signal handler."""
        self._stop = True
        self._put(None)

    def hang_up(self):
        """Behave as if the controller had closed its end; safe in a signal handler."""
        self.gone = True
        self._put(None)

    def abandon(self):
        """Close both ends: for a forked child, which has no business on the wire."""
        os.close(self._source)
        os.close(self._sink)
        if self.spool is not None:
            self.spool.abandon()

    def _spooled(self, event, values, line):
        """Put an event into the spool -> what to send: the line, or its place there when it is large."""
        place = self.spool.keep(event, values, line)
        if place is not None and (len(line) > REFERENCE or self._unsent_bytes > CHUNK):
            self.spool.flush()
            if self.spool.stored(place):
                return place
        return line

    def _await_memory(self):
        """Wait while a slow link has more to take than memory should hold; not for one that is stuck or lost."""
        while self._unsent_bytes > UNSENT_LIMIT and not self._dead:
            if self.spool is not None and clock() - self.heard > SILENCE:
                self._lose()
                return
            self._sent.wait(1.0)

    def _lose(self):
        """Send nothing any more; what a run reports is in its spool."""
        self.gone = self._dead = True
        self._out = bytearray()
        self._unsent.clear()
        self._unsent_bytes = 0
        self._put(None)

    def _append(self, item):
        if self._dead:
            return
        self._unsent.append(item)
        if not isinstance(item, tuple):
            self._unsent_bytes += len(item)

    def _wake(self, urgent):
        if urgent:
            self._urgent.set()
        if not self._news.is_set():
            self._news.set()

    def _work(self):
        due = time.monotonic() + HEARTBEAT
        lost = False
        while True:
            if self._out or self._unsent:
                self._await_room()
            elif self._news.wait(max(0, due - time.monotonic())):
                self._news.clear()
                self._urgent.wait(LINGER)
                self._urgent.clear()
            with self._lock:
                self._flush()
            now = time.monotonic()
            if now < due and self.gone == lost:
                continue
            if now >= due:
                due = now + HEARTBEAT
                if not (self._out or self._unsent):
                    self.emit("heartbeat")
            lost = self.gone
            if self.on_beat is not None:
                self.on_beat()

    def _flush(self):
        """Write to the spool all, and to the controller what it takes now."""
        if self.spool is not None:
            self.spool.flush()
        try:
            while self._fill():
                del self._out[: os.write(self._sink, self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
        self._sent.notify_all()

    def _fill(self):
        """Move events into what is written next; False when there are none."""
        while self._unsent and len(self._out) < CHUNK:
            item = self._unsent.popleft()
            if not isinstance(item, tuple):
                self._unsent_bytes -= len(item)
                self._out += item
                continue
            if self.spool is None:
                continue  # the agent ends, and the link takes no more
            offset, length = item
            self._out += self.spool.read(offset, min(length, CHUNK))
            if length > CHUNK:
                self._unsent.appendleft((offset + CHUNK, length - CHUNK))
        return bool(self._out)

    def _await_room(self):
        import select

        poll = select.poll()
        poll.register(self._sink, select.POLLOUT)
        poll.poll(STUCK_POLL * 1000)

    def _read(self):
        incoming = Messages()
        greeted = False
        while True:
            chunk = self._receive_bytes()
            if not chunk:
                break
            self.heard = clock()
            for message in incoming.feed(chunk):
                # Before the first message there may be a sudo password that sudo did not ask for: drop it unseen.
                if isinstance(message, dict) or greeted:
                    greeted = True
                    self._take(message)
        if not self._ended:
            self.gone = True
        self._put(None)
        self._wake(True)

    def _receive_bytes(self):
        while True:
            try:
                return os.read(self._source, 65536)
            except BlockingIOError:
                # Both directions may be one socket, and sending must not block.
                import select

                poll = select.poll()
                poll.register(self._source, select.POLLIN)
                poll.poll()
            except OSError:
                return b""

    def _take(self, message):
        if isinstance(message, dict):
            if message["op"] == "alive":
                return
            if message["op"] == "stop":
                self._stop = True
                return
            self._ended = self._ended or message["op"] == "end"
        self._put(message, QUEUE_LIMIT)

    def _put(self, message, limit=None):
        with self._arrived:
            while limit is not None and len(self._queue) >= limit:
                self._arrived.wait()
            self._queue.append(message)
            self._arrived.notify_all()
