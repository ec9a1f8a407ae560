"""Tasks with `async`: followed to their end or their deadline, or left running on their own, and asked about later.

A job that runs on its own has a file in the account's state folder, as Ansible's have: what `async_status` reads. While
it runs it holds a lock beside it, so that a job that was killed is told from one that is busy.
"""

import fcntl
import json
import os
import shutil
import signal

from . import journal, overlay, process
from .context import ModuleError
from .lease import find_state, state_directory
from .perform import os_error_message, perform
from .recording import Recorder
from .spool import CENSORED, unusual

AGENT_USER = os.geteuid()  # of the process that imports this: one that became another user has its own folder
KEPT = 100  # finished jobs whose files stay for whoever asks
NO_OUTPUT = {"stdout": "", "stdout_lines": [], "stderr": "", "stderr_lines": []}


def follow(task, args, diff, services, seconds):
    """Run a task of an `async` with `poll` -> its result; after so many seconds it is stopped and has failed."""
    job = _new_id()
    outcome = perform(task, args, False, diff, services, limit=seconds)
    if outcome.pop("timedout", None) is not None:
        msg = "async task did not complete within the requested time - %gs" % seconds
        unfinished = dict(NO_OUTPUT, ansible_job_id=job, started=True, finished=False)
        return {"changed": False, "failed": True, "msg": msg, "async_result": unfinished}
    return dict(outcome, ansible_job_id=job, started=True, finished=True)


def start(task, args, diff, services, seconds):
    """Start a task that runs on its own from here on, for so many seconds at most -> the result for now."""
    try:
        return _start(task, args, diff, services, seconds)
    except ModuleError as error:
        return dict(error.values, changed=False, failed=True, msg=error.msg)
    except OSError as error:
        return {"changed": False, "failed": True, "msg": os_error_message(error)}


def _start(task, args, diff, services, seconds):
    folder = _folder()
    os.makedirs(folder, 0o700, exist_ok=True)
    _tidy(folder)
    job = _new_id()
    path = os.path.join(folder, job)
    begun = {"started": True, "finished": False, "ansible_job_id": job, "results_file": path}
    own = _Own(begun, args, services)
    pid = os.fork()
    if pid == 0:
        try:
            _live(task, args, diff, own, seconds)
        finally:
            os._exit(1)
    os.close(own.lock)
    os.waitpid(pid, 0)
    # What it changes is not in the run's journal, which is another process's: only that there was a job.
    services.recorder.begin(False, task)
    services.recorder.end(task, {"changed": True, "_undo": [{"kind": "job", "text": "%s: %s" % (task["module"], job)}]})
    return dict(begun, changed=True, failed=False)


def status(job):
    """What is known of a job, as async_status reports it. Raises ModuleError when there is none of that name."""
    path = _path(job)
    data = _read(path)
    if data.get("finished"):
        return data
    if _is_held(path + ".lock"):
        return dict(NO_OUTPUT, **data)
    data = _read(path)  # it may have ended in between
    if data.get("finished"):
        return data
    msg = "the job has ended without a result: it was killed, or the board was started anew"
    return dict(data, failed=True, finished=True, msg=msg)


def cleanup(job):
    """Remove what is left of a job -> the path of its file. Raises ModuleError when there is none of that name."""
    path = _path(job)
    for name in (path, path + ".lock"):
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass
    return path


class _Own:
    """What a job on its own has, and offers its module. Content it may need is put aside: the agent's own goes away."""

    def __init__(self, begun, args, services):
        self.begun = begun
        self._place = begun["results_file"] + ".files"
        os.mkdir(self._place, 0o700)
        sha256 = (args.get("_blob") or {}).get("sha256")
        if sha256 is not None:
            shutil.copyfile(services.blob(sha256), os.path.join(self._place, sha256))
        self.recorder = Recorder(self.blob)
        _write(begun["results_file"], begun)
        # The lock belongs to whoever has this open file: the agent closes its own after the fork.
        self.lock = os.open(begun["results_file"] + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def progress(self, text):
        """Nobody is there to see it."""

    def blob(self, sha256):
        """The path of content that was put aside."""
        path = os.path.join(self._place, sha256)
        if not os.path.exists(path):
            raise ModuleError("this content was not put aside for the job (blob %s)" % sha256)
        return path

    def tmpdir(self):
        """A scratch directory."""
        path = os.path.join(self._place, "scratch")
        os.makedirs(path, 0o700, exist_ok=True)
        return path

    def close(self):
        """Remove all this."""
        shutil.rmtree(self._place, ignore_errors=True)


def _live(task, args, diff, own, seconds):
    """The forked side: leave the agent, run the task, write down what came of it. Never returns."""
    os.setsid()
    if os.fork():
        os._exit(0)
    _let_go(own.lock)
    overlay.use(None)
    journal.use(None)
    outcome = perform(task, args, False, diff, own, limit=seconds)
    if "timedout" in outcome:
        outcome = {"failed": True, "msg": "Timeout exceeded", "child_pid": os.getpid()}
    outcome.setdefault("changed", False)
    outcome.setdefault("failed", False)
    if task.get("no_log"):
        outcome = {"changed": outcome["changed"], "failed": outcome["failed"], "censored": CENSORED}
    _write(own.begun["results_file"], dict(outcome, **dict(own.begun, finished=True)))
    own.close()
    os._exit(0)


def _let_go(lock):
    """Close everything that is the agent's: its wire, its lease; end at SIGTERM with one's own programs."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != lock:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed them

    def end(number, frame):
        process.kill_all()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _folder():
    return os.path.join(state_directory() if os.geteuid() == AGENT_USER else find_state(), "jobs")


def _new_id():
    return "j%012d.%d" % (int.from_bytes(os.urandom(6), "big") % 10**12, os.getpid())


def _path(job):
    path = os.path.join(_folder(), job)
    harmless = job.startswith("j") and job.replace(".", "").isalnum()
    if not harmless or not os.path.exists(path):
        raise ModuleError("could not find job", ansible_job_id=job, started=True, finished=True)
    return path


def _read(path):
    with open(path, "rb") as source:
        return json.loads(source.read().decode("utf-8"))


def _write(path, data):
    temporary = path + ".new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(json.dumps(data, default=unusual, skipkeys=True).encode("utf-8", "replace"))
        target.flush()
        os.fsync(target.fileno())
    os.rename(temporary, path)


def _is_held(path):
    try:
        lock = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _tidy(folder):
    """Remove the oldest of the finished jobs when there are many."""
    jobs = [os.path.join(folder, name) for name in os.listdir(folder) if name.replace(".", "").isalnum()]
    jobs = [path for path in jobs if os.path.isfile(path) and os.path.exists(path + ".lock")]
    finished = [path for path in jobs if not _is_held(path + ".lock")]
    for path in sorted(finished, key=os.path.getmtime)[:-KEPT]:
        for name in (path, path + ".lock"):
            os.unlink(name)
        shutil.rmtree(path + ".files", ignore_errors=True)
