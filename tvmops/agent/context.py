"""What a module may use: the task's switches, running programs, blobs, a scratch directory, progress."""

import os
import time

from . import deadline

SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PROGRESS_INTERVAL = 0.2  # seconds between two progress events


class ModuleError(Exception):
    """Fails the task with `msg`; `values` become part of its result."""

    def __init__(self, msg, **values):
        Exception.__init__(self, msg)
        self.msg = msg
        self.values = values


def may_come(what):
    """Raise Unknown for something missing that an earlier task of a check run may bring; return when it would not."""
    from . import node, overlay

    if overlay.unsure():
        raise node.Unknown("%s is not on the board yet; an earlier task may bring it" % what)


class Context:
    """One task's view of the agent."""

    def __init__(self, check=False, diff=False, environment=None, services=None):
        self.check = check
        self.diff = diff
        self.environment = dict(environment or {})
        self._services = services
        self._last_progress = 0.0

    def run(self, argv, stdin=None, cwd=None, timeout=None, env=None):
        """Run a program to its end -> (rc, stdout, stderr) as text; rc is -N when signal N killed it.

        The task's `environment` and then `env` are added to the agent's own. After `timeout` seconds the whole
        process group is killed. Raises ModuleError when the program cannot be started or times out.
        """
        import subprocess

        from . import process

        full_env = dict(os.environ)
        for extra in (self.environment, env or {}):
            full_env.update((str(key), str(value)) for key, value in extra.items())
        argv = [str(word) for word in argv]
        try:
            with deadline.held():
                return process.run(argv, stdin, cwd, timeout, env=full_env, progress=self.progress)
        except subprocess.TimeoutExpired as error:
            raise ModuleError(
                "%s did not finish within %g seconds and was killed" % (argv[0], timeout),
                stdout=error.output,
                stderr=error.stderr,
            )
        except (OSError, ValueError) as error:
            may_come("what %s needs" % argv[0])
            reason = getattr(error, "strerror", None) or str(error)
            where = " in %s" % cwd if cwd else ""
            raise ModuleError("cannot run %s%s: %s" % (argv[0], where, reason), rc=2, cmd=argv)

    def which(self, name):
        """The path of a program, looked for in PATH and the system directories (sbin too), or None."""
        if os.sep in name:
            return name if os.access(name, os.X_OK) else None
        path = self.environment.get("PATH", os.environ.get("PATH", ""))
        for directory in path.split(os.pathsep) + list(SYSTEM_DIRECTORIES):
            candidate = os.path.join(directory, name)
            if directory and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                return candidate
        return None

    def progress(self, text):
        """Show the last line of `text` to whoever watches; at most five a second get through."""
        now = time.monotonic()
        if self._services is None or now - self._last_progress < PROGRESS_INTERVAL:
            return
        lines = text.strip().splitlines()
        if lines:
            self._last_progress = now
            with deadline.held():
                self._services.progress(lines[-1].strip()[:200])

    def blob(self, sha256):
        """The path of a local file with this content, fetched from the controller when it is not here yet.

        The file may be gone after the task. Raises ModuleError when the controller cannot give it.
        """
        with deadline.held():
            return self._services.blob(sha256)

    @property
    def tmpdir(self):
        """A private scratch directory, removed at the end of the run."""
        return self._services.tmpdir()
