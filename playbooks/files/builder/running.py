"""Running CMake and Ninja: everything goes to the log, a few lines a second to whoever watches."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time

import memory
from faults import BuildFault, Reader

SHOW_EVERY = 0.3  # seconds
_STEP = re.compile(r"^\[\s*(\d+)(?:/(\d+)|%)\]\s*(.*)")


def tell(text):
    """A line for whoever watches; that nobody does any more is no reason to end the build."""
    try:
        print(text)
        sys.stdout.flush()
    except (IOError, OSError):
        sys.stdout = open(os.devnull, "w")


class Log:
    """The build's log file. A full disk does not stop the build by way of its log."""

    def __init__(self, path):
        self.path = path
        self._file = open(path, "ab")
        self.full = False

    def write(self, text):
        """Add a line."""
        try:
            self._file.write(text.encode("utf-8", "replace") + b"\n")
            self._file.flush()
        except (IOError, OSError) as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.full = True

    def close(self):
        """No more is written."""
        try:
            self._file.close()
        except (IOError, OSError):
            self.full = True


class Outcome:
    """How a program ended: `code` (negative: by that signal), its first error, the steps it announced."""

    def __init__(self, code, reader, steps, late):
        self.code = code
        self.error = reader.first_error() if code != 0 else None
        self.out_of_memory = code != 0 and (reader.out_of_memory or code in (-signal.SIGKILL, 137))
        self.steps = steps
        self.late = late


def run(argv, folder, environment, log, *, deadline, keep_open=()):
    """Run a program in `folder` until it ends, or until the monotonic time `deadline`. Raises BuildFault, OSError."""
    log.write("== %s in %s: %s" % (time.strftime("%Y-%m-%d %H:%M:%S"), folder, " ".join(argv)))
    try:
        child = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, pass_fds=keep_open,
        )  # fmt: skip
    except OSError as error:
        raise BuildFault("%s does not start: %s" % (argv[0], error.strerror), "install it, or name another one")
    late = threading.Event()
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _end, (child, late))
    timer.daemon = True
    timer.start()
    reader, steps = Reader(), Steps()
    try:
        for raw in child.stdout:
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            log.write(text)
            reader.line(text)
            steps.line(text)
        code = child.wait()
    finally:
        timer.cancel()
        if child.poll() is None:
            end_tree(child.pid)
            child.wait()
        child.stdout.close()
    log.write("== ended with %d" % code)
    return Outcome(code, reader, steps, late.is_set())


class Steps:
    """The build's own [n/m]: counted, and shown at most a few times a second."""

    def __init__(self):
        self.done = 0
        self.total = 0
        self.objects = 0
        self._shown = 0.0

    def line(self, text):
        """Take a line of output."""
        match = _STEP.match(text)
        if match is None:
            return
        self.done, self.total = int(match.group(1)), int(match.group(2) or 100)
        if re.match(r"Building (C|CXX|CUDA|ASM) object", match.group(3)):
            self.objects += 1
        if time.monotonic() - self._shown > SHOW_EVERY or self.done == self.total:
            self._shown = time.monotonic()
            tell("[%d/%d] %s" % (self.done, self.total, match.group(3)[:160]))


def _end(child, late):
    late.set()
    end_tree(child.pid)


def end_tree(top):
    """End a program and all that it started."""
    for pid in [top] + [pid for pid, _ in memory.descendants(top)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
