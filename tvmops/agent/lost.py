"""Runs whose controller went away, as the next one finds them: what still runs, what has ended, all its events."""

import fcntl
import json
import os
import shutil
import time

from .lease import clock
from .spool import boot_id

TAIL = 64 * 1024  # bytes at a spool's end that tell how far it has come
SMALL = 4096  # bytes: lines of the kinds that are looked for are no longer
FOLLOW_PAUSE = 0.2  # seconds between looks at a spool that is still written
KEEP_BYTES = 200 * 1024 * 1024  # of all runs of the account


def answer(message, wire, services):
    """Do what the controller asks about other runs. Raises ProtocolError for a name that no run can have."""
    op = message["op"]
    if op == "status":
        wire.emit("status", **services.situation())
    elif op == "steal":
        holder = services.lease.steal()
        wire.emit("status", **services.situation()) if holder is None else wire.emit("refused", lease=holder)
    elif op == "interrupt":
        services.lease.interrupt(message.get("run"))
        wire.emit("interrupted", run=message.get("run"))
    elif op == "forget":
        forget(services.run_folder(message.get("run")))
        wire.emit("forgotten", run=message.get("run"))
    else:
        run = message.get("run")
        state = follow(services.run_folder(run), run, wire, lambda: _holds(services.lease, run))
        wire.emit("follow_end", run=message.get("run"), state=state)


def situation(runs, holder):
    """For `ready` and `status`: the lease with its running task, and what has ended and was not fetched."""
    if holder is not None and holder["run"]:
        for summary in _summaries(os.path.join(runs, holder["run"])):
            holder["task"] = summary.running or holder.get("task")
    finished = []
    for name in sorted(os.listdir(runs)) if os.path.isdir(runs) else ():
        if holder is None or name != holder["run"]:
            folder = os.path.join(runs, name)
            finished += [one.as_dict() for one in _summaries(folder) if not _is_written(one.path)]
    return {"lease": holder, "finished": finished}


def _summaries(folder):
    found = []
    for path in spools(folder):
        try:
            found.append(Summary(path))
        except FileNotFoundError:
            pass  # its controller has just got all of it
    return found


def spools(folder):
    """The files of a run's events."""
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("events"))
    except OSError:
        return []


class Summary:
    """A spool as its first and last lines tell it; a half-written last line does not count."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as source:
            self._first = _event(source.readline(TAIL)) or {}
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - TAIL))
            lines = source.read().split(b"\n")[:-1]
            self._written = os.fstat(source.fileno()).st_mtime
        self._counts = {"done": 0, "changed": 0, "failed": 0}
        self._end = self._left = None
        self._current = None
        for line in lines if size <= TAIL else lines[1:]:
            self._take(_event(line) if len(line) <= SMALL else None)
        self._titles = _titles(path)

    def _take(self, event):
        kind = event.get("ev") if event else None
        if kind == "tally":
            self._counts = {key: event[key] for key in self._counts}
            self._current = None
        elif kind in ("start", "progress"):
            self._current = event.get("task")
        elif kind == "batch_end":
            self._end, self._current = event, None
        elif kind == "batch":
            self._end = None
        elif kind == "left":
            self._left = event

    @property
    def running(self):
        """The title of the task that had begun last and not ended; None between tasks."""
        return self._titles.get(self._current)

    def as_dict(self):
        """As `ready` tells it. `ago` is None when the board was started since."""
        told = {key: self._first.get(key) for key in ("run", "owner", "what", "host")}
        left = self._left or {}
        told.update(since=self._first.get("time"), ended=left.get("time", self._written))
        told["ago"] = round(max(0.0, clock() - left["clock"]), 1) if left.get("boot") == boot_id() else None
        told["stopped_at"] = self._titles.get((self._end or {}).get("stopped_at"))
        told.update(tasks=self._counts["done"], changed=self._counts["changed"], failed=self._counts["failed"])
        told["complete"] = self._end is not None
        told["running"] = self.running
        told["restarted"] = bool(self._first.get("boot")) and self._first.get("boot") != boot_id()
        return told


def _titles(path):
    """{task id: title} of all the batches in a spool, read with little memory."""
    titles = {}
    with open(path, "rb") as source:
        for line in source:
            if b'"ev": "batch"' in line:
                for task in (_event(line) or {}).get("tasks") or ():
                    titles[task[0]] = task[1]
    return titles


def _event(line):
    try:
        event = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _is_written(path):
    """True while the agent that writes it lives."""
    try:
        with open(path, "rb") as source:
            return _is_locked(source)
    except FileNotFoundError:
        return False  # its controller has just got all of it


def _is_locked(source):
    try:
        fcntl.flock(source, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(source, fcntl.LOCK_UN)
    return False


def _holds(lease, run):
    holder = lease.look()
    return holder is not None and holder["run"] == run


def follow(folder, run, wire, goes_on):
    """Send a run's events, those to come included -> "finished", or "unknown" when there is no such run.

    `goes_on` tells whether the run still holds the board: an agent may idle on after a silent controller has lost it.
    """
    state = "unknown"
    for path in spools(folder):
        try:
            source = open(path, "rb")
        except FileNotFoundError:
            continue
        state = "finished"
        with source:
            _send_lines(source, run, wire, goes_on)
    return state


def _send_lines(source, run, wire, goes_on):
    # The file stays readable when it is removed, which its agent does once its controller has got all of it.
    rest = b""
    while not wire.gone:
        last = not _is_locked(source) or not goes_on()
        for line in source:
            rest += line
            if rest.endswith(b"\n"):
                if _event(rest) is not None:
                    wire.forward(rest.rstrip(b"\n"), run)
                rest = b""
        if last:
            break
        time.sleep(FOLLOW_PAUSE)


def forget(folder):
    """Remove a run's events; its journal stays."""
    for path in spools(folder):
        if not _is_written(path):
            os.unlink(path)
    try:
        os.rmdir(folder)
    except OSError:
        pass


def tidy(runs, running, most):
    """Keep the last runs only, so many at most and within their size; never touch one that still runs."""
    found = []
    for name in os.listdir(runs):
        folder = os.path.join(runs, name)
        if name != running and not any(_is_written(path) for path in spools(folder)):
            found.append(folder)
    size = 0
    # Their names begin with the time at which the controller began them; the board's clock may have been set since.
    for number, folder in enumerate(sorted(found, reverse=True), 1):
        size += _size(folder)
        if number >= most or size > KEEP_BYTES:
            shutil.rmtree(folder, ignore_errors=True)


def _size(folder):
    """Bytes that removing a run's folder would free, or nearly: of what has another name nothing is freed."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(top, name))
            total += status.st_size if status.st_nlink == 1 else 0
    return total
