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
FETCH_TIMEOUT = 20  # seconds a mirror may be silent
FETCH_RETRIES = 1
DEADLINE = 7200  # seconds for everything: dpkg on a slow SD card may need most of an hour
NETWORK_OPTIONS = [
    "-o", "Acquire::http::Timeout=%d" % FETCH_TIMEOUT,
    "-o", "Acquire::https::Timeout=%d" % FETCH_TIMEOUT,
    "-o", "Acquire::ftp::Timeout=%d" % FETCH_TIMEOUT,
    "-o", "Acquire::Retries=%d" % FETCH_RETRIES,
]  # fmt: skip


class Outcome:
    """How a program ended: rc (-1 when it was stopped at its deadline), stdout, stderr, timed_out."""

    def __init__(self, rc, stdout, stderr, timed_out):
        self.rc = rc
        self.stdout = stdout
        self.stderr = stderr
        self.timed_out = timed_out

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


def _watch(process, status_read, progress, deadline):
    collected = {"stdout": bytearray(), "stderr": bytearray(), "status": bytearray()}
    timed_out = False
    with selectors.DefaultSelector() as selector:
        for name, fd in (
            ("stdout", process.stdout.fileno()),
            ("stderr", process.stderr.fileno()),
            ("status", status_read),
        ):
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ, name)
        while selector.get_map():
            # A daemon that a package started may keep the pipes open: the end is the program's, not the pipes'.
            ended = process.poll() is not None
            ready = selector.select(0 if ended else 0.25)
            if ended and not ready:
                break
            for key, _ in ready:
                _read(selector, key, collected, progress)
            if not timed_out and time.time() > deadline:
                timed_out = True
                _stop(process)
    rc = process.wait()
    texts = {name: bytes(data).decode("utf-8", "replace") for name, data in collected.items()}
    return Outcome(-1 if timed_out else rc, texts["stdout"], texts["stderr"], timed_out)


def _read(selector, key, collected, progress):
    data = os.read(key.fd, 65536)
    if not data:
        selector.unregister(key.fd)
        return
    collected[key.data] += data
    if key.data == "status":
        lines = bytes(collected["status"]).split(b"\n")
        collected["status"] = bytearray(lines.pop())
        for line in lines:
            text = status_text(line.decode("utf-8", "replace"))
            if text:
                progress(text)


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
