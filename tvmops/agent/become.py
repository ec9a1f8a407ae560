"""A task as another user: a forked child drops to that user, runs the task, and reports through a pipe."""

import json
import os
import pwd
import shutil
import signal
import tempfile

# The child cannot read the agent's own directory any more, so all that it may need is imported before.
from . import attributes, blobs, diff, files, modules, perform, process, removal  # noqa: F401
from .accounts import User
from .context import ModuleError
from .protocol import Wire

_children = {}  # process id -> its _Space, for the signal handler


class CannotBecome(Exception):
    """The agent cannot run a task as the wanted user; the message says why and what to do."""


def is_current(user):
    """True when the agent already runs as this user."""
    try:
        return pwd.getpwnam(user).pw_uid == os.geteuid()
    except KeyError:
        return False


def identity(user, overlay=None):
    """The account of a user whom the agent can become; in check mode also one that an earlier task would make."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        if overlay is not None and (overlay.users.get(user) or overlay.unsure):
            return Predicted(user, overlay.users.get(user) or User(user, -1, -1, "", "/home/" + user, "/bin/sh"))
        raise CannotBecome("cannot become %r: there is no such user on this board" % user)
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid()).pw_name
        raise CannotBecome(
            "cannot become %r: the agent runs as %r, and only root can become other users "
            "(set become: true for the play or the host)" % (user, own)
        )
    return account


class Predicted:
    """A user whom a check run would have made."""

    def __init__(self, name, user):
        self.pw_name = name
        self.user = user

    def run(self, run, wire, services):
        """Run a TaskRun in this process as if it were the user's: in check mode it only looks and predicts."""
        tree, before = services.recorder.overlay.tree, dict(os.environ)
        os.environ.update(HOME=self.user.home, USER=self.pw_name, LOGNAME=self.pw_name, SHELL=self.user.shell)
        tree.owner = (self.user.uid, self.user.gid)
        try:
            return run.run(wire.emit, services)
        finally:
            tree.owner = (-1, -1)
            os.environ.clear()
            os.environ.update(before)


def terminate_children():
    """Pass a termination on to the children, who kill their own programs."""
    for pid, space in list(_children.items()):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        space.remove()


def run_as(account, run, wire, services):
    """Run a TaskRun in a child that is `account` -> the result it reported as done, or None if it died."""
    if isinstance(account, Predicted):
        return account.run(run, wire, services)
    module = modules.load(run.task["module"])
    if hasattr(module, "prepare"):
        module.prepare()
    if run.check or _copies_folder(run.task):  # in check mode an earlier task may have predicted files of an archive
        from . import archives  # noqa: F401
    space = _Space(account)
    up_read, up_write = os.pipe()
    down_read, down_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(up_read)
        os.close(down_write)
        wire.abandon()
        child = _Child(run.task, space, os.fdopen(up_write, "wb", 0), os.fdopen(down_read, "rb"))
        child.recorder = services.recorder.lent(account.pw_uid, run.check)
        child.live(account, run)
    _children[pid] = space
    os.close(up_write)
    os.close(down_read)
    try:
        with os.fdopen(up_read, "rb") as events, os.fdopen(down_write, "wb", 0) as answers:
            done = _serve(events, answers, wire, services, space)
        os.waitpid(pid, 0)
    finally:
        del _children[pid]
        space.remove()
    return done


def _copies_folder(task):
    every = [task.get("args") or {}] + [item.get("args") or {} for item in task.get("loop") or ()]
    return any("tree" in (args.get("_blob") or {}) for args in every)


class _Space:
    """Files for the child: a scratch directory of its own, and blobs that only it may read."""

    def __init__(self, account):
        self._account = account
        self._top = tempfile.mkdtemp(prefix="tvmops-become-")
        os.chmod(self._top, 0o711)
        self.scratch = os.path.join(self._top, "scratch")
        os.mkdir(self.scratch, 0o700)
        os.chown(self.scratch, account.pw_uid, account.pw_gid)

    def lend(self, path):
        """A copy of a blob that the child can read."""
        copy = os.path.join(self._top, os.path.basename(path))
        if not os.path.exists(copy):
            shutil.copyfile(path, copy)
            os.chown(copy, self._account.pw_uid, self._account.pw_gid)
            os.chmod(copy, 0o400)
        return copy

    def remove(self):
        shutil.rmtree(self._top, ignore_errors=True)


def _serve(events, answers, wire, services, space):
    """Relay the child's events to the controller and give it the blobs it asks for."""
    done = None
    for line in events:
        message = json.loads(line.decode("ascii"))
        if message["ev"] == "blob":
            try:
                answer = {"path": space.lend(services.blob(message["sha256"]))}
            except Exception as error:
                msg = perform.os_error_message(error) if isinstance(error, OSError) else str(error)
                answer = {"error": msg}
            answers.write((json.dumps(answer) + "\n").encode("ascii"))
            continue
        if message["ev"] == "overlay":
            services.recorder.overlay.take(message["overlay"])
            continue
        if message["ev"] == "done":
            done = message["result"]
        wire.emit(message.pop("ev"), **message)
    return done


class _Child:
    """The forked side. It offers modules what the agent's own services offer, through the pipe."""

    def __init__(self, task, space, events, answers):
        self._task = task
        self._space = space
        self._events = events
        self._answers = answers

    def live(self, account, run):
        """Become `account`, run the task, end. Never returns."""
        status = 1
        try:
            signal.signal(signal.SIGTERM, _end_child)
            for number in (signal.SIGHUP, signal.SIGINT):
                signal.signal(number, _leave_to_agent)
            _children.clear()
            try:
                _drop_to(account)
            except OSError as error:
                msg = "cannot become %s: %s" % (account.pw_name, error)
                self._emit("done", task=self._task["id"], result={"changed": False, "failed": True, "msg": msg})
            else:
                self.recorder.overlay.tree.use_blobs(self.blob)
                run.run(self._emit, self)
                self.recorder.sync()
                if run.check:
                    self._emit("overlay", overlay=self.recorder.overlay.as_json())
            status = 0
        except BrokenPipeError:
            pass  # the agent itself has ended
        finally:
            os._exit(status)

    def begin(self, task, emit):
        """The task is the one this child was made for."""

    def stopping(self):
        """False: what was begun here is finished here."""
        return False

    def progress(self, text):
        """Report progress, unless the task hides what it does."""
        if not self._task.get("no_log"):
            self._emit("progress", task=self._task["id"], text=text)

    def blob(self, sha256):
        """The path of a copy of a blob that this user may read."""
        self._emit("blob", sha256=sha256)
        answer = json.loads(self._answers.readline().decode("ascii") or '{"error": "the agent has ended"}')
        if "error" in answer:
            raise ModuleError(answer["error"])
        return answer["path"]

    def tmpdir(self):
        """A scratch directory of this user's."""
        return self._space.scratch

    def _emit(self, event, **values):
        values["ev"] = event
        line = (json.dumps(values, default=Wire.unusual, skipkeys=True) + "\n").encode("ascii")
        while line:
            line = line[self._events.write(line) :]


def _drop_to(account):
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name, SHELL=account.pw_shell)
    os.environ.pop("XDG_RUNTIME_DIR", None)
    try:
        os.chdir(account.pw_dir)
    except OSError:
        os.chdir("/")


def _leave_to_agent(number, frame):
    """The task ends in order. (A handler, and not SIG_IGN, which the task's programs would inherit.)"""


def _end_child(number, frame):
    process.end_all(lambda: os._exit(128 + number))
