"""The wire to the controller: one JSON object per line each way, a heartbeat, and standard output kept clean."""

import collections
import json
import os
import threading
import time

HEARTBEAT = 5.0  # seconds
LINGER = 0.02  # seconds that events of WAITING wait for others: each write costs both ends a packet of their own
WAITING = ("start", "result", "done")
QUEUE_LIMIT = 4  # messages read ahead; a large blob must not pile up in a small board's memory


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
    """Messages in, events out. Events may come from any thread."""

    def __init__(self, source, sink):
        self._source = source
        self._sink = sink
        self._started = time.monotonic()
        self._write_lock = threading.Lock()
        self._unsent = bytearray()
        self._lingering = threading.Event()  # something is unsent
        self._arrived = threading.Condition()
        self._queue = collections.deque()
        self._deferred = collections.deque()
        self._ended = False  # the controller said "end": nothing more is owed to it after the queue
        self.gone = False  # nobody listens any more: finish the running task, then stop

    def start(self):
        """Start reading and the heartbeat, each in a thread of its own."""
        for work in (self._read, self._beat):
            thread = threading.Thread(target=work)
            thread.daemon = True
            thread.start()

    def emit(self, event, **values):
        """Send one event: at once with all that waited, or after LINGER."""
        values["ev"] = event
        values["t"] = round(time.monotonic() - self._started, 3)
        line = json.dumps(values, default=self.unusual, skipkeys=True, ensure_ascii=False) + "\n"
        # "replace": a file name that is not UTF-8 must not break whoever stores or prints the event.
        with self._write_lock:
            self._unsent += line.encode("utf-8", "replace")
            if event not in WAITING:
                self._flush()
        if event in WAITING:
            self._lingering.set()

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

    @staticmethod
    def unusual(value):
        """JSON for what modules may put into results beside plain types."""
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, (set, frozenset)):
            return sorted(value)
        return str(value)

    def hang_up(self):
        """Behave as if the controller had closed its end; safe in a signal handler."""
        self.gone = True
        self._put(None)

    def abandon(self):
        """Close both ends: for a forked child, which has no business on the wire."""
        os.close(self._source)
        os.close(self._sink)

    def _flush(self):
        self._lingering.clear()
        try:
            while self._unsent:
                del self._unsent[: os.write(self._sink, self._unsent)]
        except OSError:
            self.gone = True
            self._unsent = bytearray()

    def _beat(self):
        due = time.monotonic() + HEARTBEAT
        while not self.gone:
            if self._lingering.wait(max(0, due - time.monotonic())):
                time.sleep(LINGER)
                with self._write_lock:
                    self._flush()
            if time.monotonic() >= due:
                self.emit("heartbeat")
                due = time.monotonic() + HEARTBEAT

    def _read(self):
        buffer = bytearray()
        greeted = False
        while True:
            try:
                chunk = os.read(self._source, 65536)
            except OSError:
                chunk = b""
            if not chunk:
                break
            searched = len(buffer)
            buffer += chunk
            end = buffer.find(b"\n", searched)
            while end >= 0:
                message = _parse(bytes(buffer[:end]))
                del buffer[: end + 1]
                # Before the first message there may be a sudo password that sudo did not ask for: drop it unseen.
                if isinstance(message, dict) or greeted:
                    greeted = True
                    self._ended = self._ended or (isinstance(message, dict) and message["op"] == "end")
                    self._put(message, QUEUE_LIMIT)
                end = buffer.find(b"\n")
        if not self._ended:
            self.gone = True
        self._put(None)

    def _put(self, message, limit=None):
        with self._arrived:
            while limit is not None and len(self._queue) >= limit:
                self._arrived.wait()
            self._queue.append(message)
            self._arrived.notify_all()


def _parse(line):
    """The message on a line, or the text of what is wrong with it (without the line: it may hold a secret)."""
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return "a line of %d bytes is not JSON" % len(line)
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        return 'a message is not an object with an "op"'
    return message
