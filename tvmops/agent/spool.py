"""What a run's batches report, kept on the board: events.jsonl in the run's folder, written before it is sent.

The file is locked while its agent lives. What is left of a run whose controller went away is read by lost.py.
"""

import fcntl
import json
import os
import threading
import time

from .lease import clock

LIMIT = 64 * 1024 * 1024  # bytes of one spool; from then on results are kept without their output
TEXT_LIMIT = 64 * 1024  # bytes that a shortened event keeps of an output
PENDING_LIMIT = 1024 * 1024  # bytes that wait for a full disk to have room again
PROGRESS_EVERY = 5.0  # seconds between two kept lines of a long command's output
CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"
VERDICT = ("changed", "failed", "skipped", "rc", "msg", "unreachable")


def encode(values):
    """An event as a line."""
    # "replace": a file name that is not UTF-8 must not break whoever stores or prints the event.
    line = json.dumps(values, default=unusual, skipkeys=True, ensure_ascii=False) + "\n"
    return line.encode("utf-8", "replace")


def unusual(value):
    """JSON for what modules may put into results beside plain types."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def censored(values):
    """An event of a task that hides what it does, as it may be stored."""
    kept = {key: values[key] for key in ("ev", "t", "task", "item") if key in values}
    result = values.get("result")
    if result is not None:
        kept["result"] = {key: result[key] for key in VERDICT[:3] if key in result}
        kept["result"]["censored"] = CENSORED
    return kept


def shortened(values):
    """An event without the bulk of its result."""
    result = values.get("result") or {}
    kept = {key: result[key] for key in VERDICT if key in result}
    for key in ("stdout", "stderr", "msg"):
        text = result.get(key)
        if isinstance(text, str):
            kept[key] = text[-TEXT_LIMIT:]
    return dict(values, result=dict(kept, shortened=True))


class Spool:
    """One agent's file. Adding never fails: on a full disk lines wait in memory, and are given up when too many."""

    def __init__(self, folder):
        """Raises OSError when there is no place for it."""
        os.makedirs(folder, 0o700, exist_ok=True)
        self.path = os.path.join(folder, "events.jsonl")
        self._file = self._open()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another agent of the same run: the board has two names, or its user two sessions
            os.close(self._file)
            self.path = os.path.join(folder, "events-%d.jsonl" % os.getpid())
            self._file = self._open()
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.size = os.fstat(self._file).st_size
        self._pending = bytearray()
        # Batches begin in one thread while another writes; reentrant, as a signal may come while it is held.
        self._lock = threading.RLock()
        self._progress = -PROGRESS_EVERY
        self._hidden = frozenset()
        self._counts = [0, 0, 0]
        self._begun = self.size > 0
        self.broken = False  # lines were lost

    def begin(self, message, hidden):
        """A batch begins; `hidden` are the ids of tasks whose results must not be stored."""
        self._hidden = hidden
        self._begun = True
        header = {key: message.get(key) for key in ("id", "run", "owner", "what", "host", "check")}
        tasks = [
            [task.get("id"), task.get("name") or task.get("module"), task.get("at"), task.get("module")]
            for task in message.get("tasks") or ()
        ]
        header.update(ev="batch", tasks=tasks, time=time.time(), clock=clock(), boot=boot_id())
        self._add(encode(header))
        self.flush()

    def keep(self, event, values, line):
        """Store an event -> its place as (offset, length) when the file has exactly this line, else None."""
        kept = line
        if values.get("task") in self._hidden:
            if event == "progress":
                return None
            kept = encode(censored(values))
        elif event == "progress":
            now = time.monotonic()
            if now - self._progress < PROGRESS_EVERY:
                return None
            self._progress = now
        elif self.size + len(line) > LIMIT:
            kept = encode(shortened(values))
        with self._lock:
            offset = self.size + len(self._pending)
            self._add(kept)
            if event == "done":
                self._tally(values["result"])
        return (offset, len(line)) if kept is line and not self.broken else None

    def stored(self, place):
        """Whether the line at this place has reached the file."""
        return place[0] + place[1] <= self.size

    def read(self, offset, length):
        """Bytes of the file."""
        return os.pread(self._file, length, offset)

    def flush(self):
        """Write what waits."""
        with self._lock:
            try:
                while self._pending:
                    written = os.write(self._file, bytes(self._pending))
                    self.size += written
                    del self._pending[:written]
            except OSError:
                if len(self._pending) > PENDING_LIMIT:
                    # What comes next begins a line of its own.
                    self._pending[:] = b"\n"
                    self.broken = True

    def close(self, delivered):
        """The agent ends. What the controller has got is not kept any longer."""
        if delivered or not self._begun:
            self._remove()
        else:
            self._add(encode({"ev": "left", "time": time.time(), "clock": clock(), "boot": boot_id()}))
            self.flush()
        os.close(self._file)

    def abandon(self):
        """For a forked child."""
        os.close(self._file)

    def _remove(self):
        try:
            os.unlink(self.path)
            os.rmdir(os.path.dirname(self.path))
        except OSError:
            pass  # the journal is there

    def _open(self):
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _add(self, line):
        with self._lock:
            self._pending += line

    def _tally(self, result):
        # Counts as a small line after each task: whoever looks needs only the end of a large file.
        self._counts[0] += 1
        self._counts[1] += bool(result.get("changed"))
        self._counts[2] += bool(result.get("failed"))
        self._add(b'{"ev": "tally", "done": %d, "changed": %d, "failed": %d}\n' % tuple(self._counts))


def boot_id():
    """Names this start of the board; empty when it cannot be known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as source:
            return source.read().strip().decode("ascii")
    except OSError:
        return ""
