"""Who works on this board: one lease per account. It is a file lock, so a dead agent holds nothing.

All agents of one run share the lock; `lock` beside it is held for the moment of looking or taking. The file has what
others are told: whose run it is and since when. Ages are measured with a clock that nobody sets.
"""

import contextlib
import fcntl
import json
import os
import threading
import time

STATE = "TVMOPS_AGENT_STATE"  # another place for the state, for boards that are this machine
SILENCE = 60.0  # seconds: who was not heard for so long while nothing runs, or is frozen, holds the board no more
NOTE_EVERY = 10.0  # seconds between two notes of who was heard when: each is a write to the board's disk
ALONE = 5.0  # seconds to wait for another agent that looks at the same moment
READINGS = 5
SIZE = 2048  # bytes of the file, always written whole: a full disk has room for it
BOOTTIME = 7  # CLOCK_BOOTTIME: goes on while the board sleeps, and is not set by anyone

_found = []  # the state directory, once it is known


def clock():
    """Seconds since the board was started."""
    try:
        return time.clock_gettime(BOOTTIME)
    except OSError:
        return time.monotonic()


def state_directory(fallback=None):
    """Where this account's runs and lease are kept: its home's state folder, or below `fallback` when it has no home.

    The first answer stays: tasks may change the environment.
    """
    if not _found:
        _found.append(os.environ.pop(STATE, "") or find_state(fallback))
    return _found[0]


def find_state(fallback=None):
    """As state_directory, looked for anew: for a process that has become another user."""
    home = os.path.expanduser("~")
    try:
        if os.stat(home).st_uid == os.geteuid() and os.access(home, os.W_OK):
            return os.path.join(home, ".local", "state", "tvmops")
    except OSError:
        pass
    return os.path.join(fallback or "/var/tmp/tvmops-%d" % os.geteuid(), "state")


class Lease:
    """This account's lease on the board. Made at once, taken with the first batch of a run."""

    def __init__(self, directory):
        self._directory = directory
        self._path = os.path.join(directory, "lease")
        self._file = None
        self._note = {}
        self._noted = 0.0
        self._lock = threading.RLock()  # reentrant: a signal may come while it is held

    @property
    def held(self):
        """True while this agent has it."""
        return self._file is not None

    def look(self):
        """Who holds it: {run, owner, what, host, since, age, heard, pid, running, connected, lasts}, or None.

        age and heard are in seconds; `lasts` is 0 when the lease is over though its agent is still there, the seconds
        until then while nothing runs, and None while a batch runs.
        """
        if self.held or not os.path.exists(self._path):
            return None
        try:
            with self._alone():
                descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    return None if _locked(descriptor) else _told(_read(descriptor))
                finally:
                    os.close(descriptor)
        except OSError:
            return None

    def take(self, about):
        """Take it for a run, or join the agents of the same run -> None, or who holds it. Raises OSError.

        `about`: {run, owner, what, host}.
        """
        if self.held:
            return None
        os.makedirs(self._directory, 0o700, exist_ok=True)
        with self._alone():
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not _locked(descriptor):
                    holder = _read(descriptor)
                    if holder.get("run") != about["run"]:
                        return _told(holder)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self._file, descriptor = descriptor, None
                # Before anybody may look: agents of the same run are told apart from others by what is in it.
                now = clock()
                self._note = dict(about, pid=os.getpid(), since=time.time(), began=now, heard=now, beat=now)
                self.note(running=False, connected=True)
            finally:
                if descriptor is not None:
                    os.close(descriptor)
        return None

    def note(self, **values):
        """Put what changed into the file."""
        with self._lock:
            if self._file is None:
                return
            self._noted = clock()
            self._note.update(values, beat=self._noted)
            data = json.dumps(self._note).encode("ascii")
            try:
                os.pwrite(self._file, data.ljust(SIZE)[:SIZE], 0)
            except OSError:
                pass  # the lock itself needs no room

    def keep(self, heard, connected):
        """Told every few seconds when the controller was last heard; gives the lease up when it is over."""
        with self._lock:
            if self._file is None or not self._note:
                return
            if not self._note.get("running") and clock() - heard > SILENCE:
                self.release()
            elif connected != self._note.get("connected") or clock() - self._noted >= NOTE_EVERY:
                self.note(heard=heard, connected=connected)

    def release(self):
        """Give it back."""
        with self._lock:
            descriptor, self._file = self._file, None
            if descriptor is not None:
                os.close(descriptor)

    def steal(self):
        """End a holder whose lease is over -> None when it is free now, else who holds it and how long it lasts."""
        holder = self.look()
        if holder is None or holder["lasts"] != 0:
            return holder
        import signal

        if _is_agent(holder["pid"]):
            os.kill(holder["pid"], signal.SIGKILL)
        end = time.monotonic() + ALONE
        while time.monotonic() < end:
            if self.look() is None:
                return None
            time.sleep(0.05)
        return self.look()

    def interrupt(self, run):
        """Let the holder end after its task, if it is this run's."""
        holder = self.look()
        if holder is not None and holder["run"] == run and _is_agent(holder["pid"]):
            import signal

            os.kill(holder["pid"], signal.SIGINT)

    @contextlib.contextmanager
    def _alone(self):
        path = os.path.join(self._directory, "lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = time.monotonic() + ALONE
            while not _locked(descriptor):
                if time.monotonic() > end:
                    raise OSError("%s: held by a process that does not go on" % path)
                time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor):
    """Try to get the lock for oneself."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor):
    for _ in range(READINGS):
        try:
            found = json.loads(os.pread(descriptor, SIZE, 0).decode("ascii"))
            return found if isinstance(found, dict) else {}
        except ValueError:
            time.sleep(0.01)  # it was read while it was being written
    return {}  # the disk was full


def _told(note):
    now = clock()
    told = {key: note.get(key) for key in ("run", "owner", "what", "host", "since", "pid", "running", "connected")}
    told["age"] = round(max(0.0, now - note.get("began", now)), 1)
    told["heard"] = round(max(0.0, now - note.get("heard", now)), 1)
    frozen = now - note.get("beat", now) > SILENCE
    told["lasts"] = None
    if frozen:
        told["lasts"] = 0
    elif not note.get("running"):
        told["lasts"] = round(max(0.0, SILENCE - told["heard"]), 1)
    return told


def _is_agent(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as source:
            return b"/agent-" in source.read()
    except (OSError, TypeError):
        return False
