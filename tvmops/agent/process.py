"""Running a program: its output is read while it runs, and its whole process group dies at the deadline."""

import os
import selectors
import signal
import subprocess
import time

OUTPUT_LIMIT = 8 * 1024 * 1024  # bytes kept of each stream: the first and the last half
CHUNK = 65536
EXIT_POLL = 0.25  # seconds between looks at a process whose pipes are held open by a child of its own

_running = set()  # process group ids, for end_all()


class Output:
    """Bytes of one stream, bounded: the middle of a flood is left out, and the text says so."""

    def __init__(self):
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data):
        half = OUTPUT_LIMIT // 2
        room = half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > OUTPUT_LIMIT:
            surplus = len(self._tail) - half
            self._dropped += surplus
            del self._tail[:surplus]

    def text(self):
        middle = b""
        if self._dropped:
            middle = ("\n... %d bytes left out ...\n" % self._dropped).encode()
        return bytes(self._head + middle + self._tail).decode("utf-8", "replace")


class _Starting:
    """The time in which a program may run already and its process group is not known yet."""

    def __init__(self):
        self._active = False
        self._later = None

    def __enter__(self):
        self._active = True

    def __exit__(self, *error):
        self._active = False
        later, self._later = self._later, None
        if later is not None:
            later()

    def put_off(self, action):
        """True when `action` will follow as soon as this is over; False when it can be now."""
        if self._active:
            self._later = action
        return self._active


_starting = _Starting()


def end_all(then):
    """Kill the process group of every program, also of one that is just being started; then do `then`.

    For signal handlers: both may come after the handler has returned.
    """
    if _starting.put_off(lambda: end_all(then)):
        return
    for group in list(_running):
        _kill_group(group)
    then()


def run(argv, stdin, cwd, timeout, *, env, progress):
    """Run `argv` -> (rc, stdout, stderr). Raises OSError, or subprocess.TimeoutExpired after `timeout` seconds."""
    if isinstance(stdin, str):
        stdin = stdin.encode("utf-8", "surrogateescape")
    with _starting:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        _running.add(child.pid)
    out, err = Output(), Output()
    try:
        in_time = _pump(child, stdin or b"", {child.stdout: out, child.stderr: err}, timeout, progress)
    finally:
        if child.poll() is None:
            _kill_group(child.pid)
            child.wait()
        _running.discard(child.pid)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                _close(stream)
    if not in_time:
        raise subprocess.TimeoutExpired(argv, timeout, out.text(), err.text())
    return child.returncode, out.text(), err.text()


def _pump(child, stdin, outputs, timeout, progress):
    """Feed stdin and read the outputs until the program has ended. False when the deadline came first."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for stream in outputs:
            selector.register(stream, selectors.EVENT_READ)
        if child.stdin is not None:
            os.set_blocking(child.stdin.fileno(), False)
            selector.register(child.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            ended = child.poll() is not None
            ready = selector.select(0.05 if ended else EXIT_POLL)
            if ended and not ready:
                return True  # what still holds the pipes is a daemon that the program left behind
            for key, _ in ready:
                if key.fileobj is child.stdin:
                    stdin = _feed(selector, child.stdin, stdin)
                    continue
                data = os.read(key.fd, CHUNK)
                if data:
                    outputs[key.fileobj].add(data)
                    progress(data.decode("utf-8", "replace"))
                else:
                    selector.unregister(key.fileobj)
    try:
        child.wait(None if deadline is None else max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _feed(selector, pipe, data):
    """Write what the pipe takes now; close it when all is written or nobody reads. Returns what is left."""
    try:
        data = data[os.write(pipe.fileno(), data[:CHUNK]) :] if data else data
    except BlockingIOError:
        return data
    except BrokenPipeError:
        data = b""
    if not data:
        selector.unregister(pipe)
        _close(pipe)
    return data


def _close(stream):
    try:
        stream.close()
    except OSError:
        pass


def _kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
