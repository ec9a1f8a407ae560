"""What the agent process offers to the modules it runs: blobs, scratch space, progress."""

import os
import re

from . import recording


class Services:
    """One agent run's own directory, made when first needed and removed at the end."""

    def __init__(self, cache, wire, keep_blobs=False):
        from . import blobs

        self._cache = cache
        self._run_dir = None
        self._scratch = None
        self._keep = os.path.join(cache, "blobs") if keep_blobs else None
        self._store = blobs.BlobStore(self._blob_dir, wire)
        self.recorder = recording.Recorder(self.blob)
        self._task = None
        self._emit = None

    def begin(self, task, emit):
        """The task whose progress is reported from now on."""
        self._task, self._emit = task, emit

    def begin_run(self, batch):
        """The run that a batch belongs to: its changes can be undone. Batches without a name leave no journal."""
        run = batch.get("run")
        if isinstance(run, str) and re.match(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", run):
            folder = os.path.join(recording.state_directory(), "runs", run, "journal")
            self.recorder.begin_run(run, batch.get("owner"), batch.get("what"), folder)

    def offer(self, inline):
        """Small blobs that came with a batch: {sha256: base64}."""
        self._store.offer(inline)

    def progress(self, text):
        """Report progress of the running task, unless it hides what it does."""
        if not self._task.get("no_log"):
            self._emit("progress", task=self._task["id"], text=text)

    def blob(self, sha256):
        """The path of a blob's file."""
        return self._store.path(sha256)

    def tmpdir(self):
        """A scratch directory of this run."""
        if self._scratch is None:
            self._scratch = os.path.join(self.run_dir(), "scratch")
            os.mkdir(self._scratch, 0o700)
        return self._scratch

    def run_dir(self):
        """This run's directory in the cache; where the cache cannot be written, in the temporary directory."""
        if self._run_dir is None:
            parent = self._cache
            try:
                os.makedirs(parent, 0o700, exist_ok=True)
                remove_stale_runs(parent)
            except OSError:
                parent = None
            if parent is not None and not os.access(parent, os.W_OK):
                parent = None
            import tempfile

            self._run_dir = tempfile.mkdtemp(prefix="run-%d-" % os.getpid(), dir=parent)
        return self._run_dir

    def close(self):
        """Remove everything this run has put on the board for itself."""
        self.recorder.close()
        if self._run_dir is not None:
            import shutil

            shutil.rmtree(self._run_dir, ignore_errors=True)
            self._run_dir = self._scratch = None

    def _blob_dir(self):
        path = self._keep or os.path.join(self.run_dir(), "blobs")
        os.makedirs(path, 0o700, exist_ok=True)
        return path


def remove_stale_runs(cache):
    """Remove the directories of runs that were killed before they could do it themselves."""
    import shutil

    for name in os.listdir(cache):
        parts = name.split("-")
        if parts[0] != "run" or len(parts) < 3 or not parts[1].isdigit():
            continue
        try:
            os.kill(int(parts[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(os.path.join(cache, name), ignore_errors=True)
        except PermissionError:
            continue  # another user's process: not ours to judge
