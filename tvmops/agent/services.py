"""What the agent process offers to the modules it runs: blobs, scratch space, progress."""

import os

from . import recording
from .lease import Lease, state_directory
from .protocol import ProtocolError

KEEP_RUNS = 10  # folders of runs that are kept for their journals and events


class Services:
    """One agent run's own directory, made when first needed and removed at the end."""

    def __init__(self, cache, wire, keep_blobs=False):
        from . import blobs

        self._cache = cache
        self._wire = wire
        self._state = state_directory(cache)
        self._run = None
        self.lease = Lease(self._state)
        self._run_dir = None
        self._scratch = None
        self._keep = os.path.join(cache, "blobs") if keep_blobs else None
        self._store = blobs.BlobStore(
            self._blob_dir, wire, made=keep_blobs, transfers=None if keep_blobs else os.path.join(cache, "transfers")
        )
        self._accepted = False
        self.recorder = recording.Recorder(self.blob)
        self._task = None
        self._emit = None

    def begin(self, task, emit):
        """The task whose progress is reported from now on."""
        self._task, self._emit = task, emit

    def begin_run(self, batch):
        """The run that a batch belongs to: the board is its own, and what it does is kept -> None, or who is here.

        A batch without a run's name is neither kept nor refused, and leaves no journal.
        """
        run = batch.get("run")
        if not isinstance(run, str) or run == self._run and self.lease.held:
            return None
        check_run(run)
        about = {key: str(batch.get(key) or "")[:200] for key in ("run", "owner", "what", "host")}
        try:
            holder = self.lease.take(about)
            if holder is not None:
                return holder
            self._run = run
            self._make_spool(batch)
        except OSError:
            self._run = run  # no place for it: the batch is carried out all the same, while somebody listens
        self.recorder.begin_run(run, about["owner"], about["what"], os.path.join(self.run_state_dir(), "journal"))
        return None

    @property
    def has_run(self):
        """True once a batch of a run has come."""
        return self._run is not None

    def situation(self):
        """Who works on this board, and what was left here: {"lease", "finished"}."""
        runs = os.path.join(self._state, "runs")
        holder = self.lease.look()
        if holder is None and not _has_spools(runs):
            return {"lease": None, "finished": []}
        from . import lost

        return lost.situation(runs, holder)

    def run_folder(self, run):
        """The folder of any run. Raises ProtocolError for what cannot be a run's name."""
        check_run(run)
        return os.path.join(self._state, "runs", run)

    def run_state_dir(self):
        """The folder of the run's spool and journal, which may be yet to be made. None for a batch without a run."""
        return None if self._run is None else os.path.join(self._state, "runs", self._run)

    def _make_spool(self, batch):
        from .spool import Spool

        if self._wire.spool is None:
            if len(_names(os.path.join(self._state, "runs"))) > KEEP_RUNS:
                self._tidy()
            self._wire.spool = Spool(self.run_state_dir())

    def _tidy(self):
        from . import lost

        lost.tidy(os.path.join(self._state, "runs"), self._run, KEEP_RUNS)

    def accept(self, batch):
        """Fetch what the batch can need -> True once all is here, and nobody needs to be there until its end."""
        self.offer(batch.get("blobs") or {})
        if not batch.get("check"):
            self._store.prefetch(batch.get("tasks") or ())
        if self._wire.gone:
            return False
        self._accepted = True
        if self._wire.spool is not None:
            self._wire.spool.begin(batch, frozenset(task["id"] for task in batch["tasks"] if _hides(task)))
        return True

    def offer(self, inline):
        """Small blobs that came with a batch: {sha256: base64}."""
        self._store.offer(inline)

    def stopping(self):
        """True when no more is to be begun."""
        return self._wire.stopping

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

    def close(self, delivered=False):
        """Remove everything this run has put on the board for itself, but what it owes to a controller that is gone."""
        self.recorder.close()
        self._store.release(used=self._accepted)
        spool = self._wire.take_spool()
        if spool is not None:
            spool.close(delivered)
            if self._run in _names(os.path.join(self._state, "runs")):  # it left something
                self._tidy()
        self.lease.release()
        if self._run_dir is not None:
            import shutil

            shutil.rmtree(self._run_dir, ignore_errors=True)
            self._run_dir = self._scratch = None

    def _blob_dir(self):
        path = self._keep or os.path.join(self.run_dir(), "blobs")
        os.makedirs(path, 0o700, exist_ok=True)
        return path


def check_run(name):
    """Raise ProtocolError unless this can be a run's name (it becomes a folder's)."""
    harmless = isinstance(name, str) and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not harmless or name[0] == "." or len(name) > 100 or len(name.encode("utf-8")) != len(name):
        raise ProtocolError("%r cannot be the name of a run" % (name,))


def _names(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _has_spools(runs):
    return any(name.startswith("events") for run in _names(runs) for name in _names(os.path.join(runs, run)))


def _hides(task):
    return bool(task.get("no_log") or task.get("secret"))


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
