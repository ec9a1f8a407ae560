"""Running apt-get: no questions, network deadlines, progress from its status pipe."""

import os
import selectors
import signal
import subprocess
import time

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "LC_ALL": "C",
    "LANGUAGE": "C",
}
FETCH_TIMEOUT = 20  # seconds a mirror may be silent, for apt's own count
FETCH_RETRIES = 1
STALL = 60  # seconds without one byte more, for all mirrors together: apt would try every file of a dead one again
DEADLINE = 7200  # seconds for everything: dpkg on a slow SD card may need most of an hour
NETWORK_OPTIONS = [
    "-o", "Acquire::http::Timeout=%d" % FETCH_TIMEOUT,
    "-o", "Acquire::https::Timeout=%d" % FETCH_TIMEOUT,
    "-o", "Acquire::ftp::Timeout=%d" % FETCH_TIMEOUT,
    "-o", "Acquire::Retries=%d" % FETCH_RETRIES,
]  # fmt: skip


class Outcome:
    """How a program ended: rc (-1 when it was stopped), stdout, stderr, stopped ("", "deadline" or "stall")."""

    def __init__(self, rc, stdout, stderr, stopped=""):
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr
        self.stopped = stopped

    @property
    def output(self):
        """Both streams, errors last."""
        return self.stdout + "\n" + self.stderr


def environment(extra):
    """The environment for apt-get and dpkg: the task's own, plus what keeps them from asking questions."""
    merged = dict(os.environ)
    merged.update(extra or {})
    merged.update(ENVIRONMENT)
    if "/usr/sbin" not in merged.get("PATH", "").split(":"):
        # Maintainer scripts need ldconfig and start-stop-daemon, which su without "-" leaves off the path.
        merged["PATH"] = merged.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return merged


def status_text(line):
    """A line of apt's status pipe as text for people, or "" when there is nothing to show.

    Lines are `pmstatus:package:percent:text` and `dlstatus:item:percent:text`.
    """
    fields = line.split(":", 3)
    if len(fields) != 4 or fields[0] not in ("pmstatus", "dlstatus"):
        return ""
    try:
        percent = float(fields[2].replace(",", "."))
    except ValueError:
        return fields[3].strip()
    if not 0 <= percent <= 100:
        return fields[3].strip()
    return "%d %% %s" % (percent, fields[3].strip())


def run(argv, env, progress, deadline=DEADLINE, status=True):
    """Run apt-get or dpkg -> Outcome; `progress(text)` gets its status lines.

    Its process group is stopped after `deadline` seconds. `status`: ask for status lines; dpkg cannot.
    """
    status_read, status_write = os.pipe()
    if status:
        argv = [argv[0], "-o", "APT::Status-Fd=%d" % status_write] + list(argv[1:])
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(status_write,),
            env=env,
            start_new_session=True,
        )
    finally:
        os.close(status_write)
    try:
        return _watch(process, status_read, progress, time.time() + deadline)
    finally:
        os.close(status_read)
        process.stdout.close()
        process.stderr.close()


class _Streams:
    """What the program has said so far, and since when its download has not moved."""

    def __init__(self, progress):
        self.progress = progress
        self.data = {"stdout": bytearray(), "stderr": bytearray(), "status": bytearray()}
        self.download = ""  # the last status line while it is one of a download
        self.moved = time.time()

    def text(self, name):
        return bytes(self.data[name]).decode("utf-8", "replace")

    def stalled(self):
        return bool(self.download) and time.time() - self.moved > STALL

    def read(self, selector, key):
        data = os.read(key.fd, 65536)
        if not data:
            selector.unregister(key.fd)
            return
        self.data[key.data] += data
        if key.data == "stdout" and (b"Fetched " in data or b"Reading package lists" in data):
            self.download = ""
        if key.data != "status":
            return
        lines = bytes(self.data["status"]).split(b"\n")
        self.data["status"] = bytearray(lines.pop())
        for line in lines:
            self._status(line.decode("utf-8", "replace"))

    def _status(self, line):
        if line != self.download:  # apt repeats the line twice a second even when nothing comes
            self.moved = time.time()
            self.download = line if line.startswith("dlstatus:") else ""
            text = status_text(line)
            if text:
                self.progress(text)


def _watch(process, status_read, progress, deadline):
    streams = _Streams(progress)
    stopped = ""
    with selectors.DefaultSelector() as selector:
        pipes = (("stdout", process.stdout.fileno()), ("stderr", process.stderr.fileno()), ("status", status_read))
        for name, fd in pipes:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ, name)
        while selector.get_map():
            # A daemon that a package started may keep the pipes open: the end is the program's, not the pipes'.
            ended = process.poll() is not None
            ready = selector.select(0 if ended else 0.25)
            if ended and not ready:
                break
            for key, _ in ready:
                streams.read(selector, key)
            if not stopped and not ended and (time.time() > deadline or streams.stalled()):
                stopped = "stall" if streams.stalled() else "deadline"
                _stop(process)
    rc = process.wait()
    return Outcome(-1 if stopped else rc, streams.text("stdout"), streams.text("stderr"), stopped)


def _stop(process):
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
