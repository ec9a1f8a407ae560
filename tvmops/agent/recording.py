"""Where a task's changes are recorded: in the run's journal, or in check mode in the overlay."""

from . import files, journal, modules, overlay

SHOWN = ("cmd", "name", "path", "dest", "url", "repo")  # result values that say what a task was about
LONGEST = 300  # characters of them


class Recorder:
    """One agent's recording. In a process that runs a task for another user it is a copy."""

    def __init__(self, blob):
        self._blob = blob
        self.overlay = overlay.Overlay(blob)
        self.journal = None
        self._told = False

    def begin_run(self, run, owner, what, folder):
        """Changes from now on are those of the run with this name; its journal is in `folder`."""
        if self.journal is not None and self.journal.folder == folder:
            return
        self.close()
        self.journal = journal.Journal(folder, {"run": run, "owner": owner, "what": what})

    def begin(self, check, task):
        """A task, or an item of one, starts."""
        if check:
            overlay.use(self.overlay)
            journal.use(None)
            return
        overlay.use(None)
        if not self.overlay.is_empty:  # a real change after predictions: what counts now is what is there
            self.overlay = overlay.Overlay(self._blob)
        journal.use(self.journal)
        if self.journal is not None:
            self.journal.task = task.get("name") or task.get("id")

    def end(self, task, outcome):
        """The task has ended: wait for the journal, or take what cannot be predicted for unsure.

        outcome["_undo"] says what else than files was changed: [{"kind": "package", ...}], outcome["_makes"] which path
        something unpredictable would have made.
        """
        others, makes = outcome.pop("_undo", ()), outcome.pop("_makes", None)
        if overlay.active() is not None:
            # A command that never changes anything only looks: whoever makes the path comes later.
            if makes is not None and task.get("changed_when") is not False:
                files.predict_unknown(makes, "a command would make it")
            did = outcome.get("changed") or outcome.get("skipped")
            if did and (outcome.get("unknown") or not _predicts(task["module"])):
                self.overlay.unsure = True
        elif self.journal is not None:
            self._note(task, outcome, others)
        overlay.use(None)
        journal.use(None)

    def _note(self, task, outcome, others):
        notes, hidden = self.journal, bool(task.get("no_log") or task.get("secret"))
        if outcome.get("changed"):
            if not others and not _predicts(task["module"]):
                others = [
                    {
                        "kind": modules.load(task["module"]).__name__.rpartition(".")[2].strip("_"),
                        "text": _summary(outcome),
                    }
                ]
            for other in others:
                notes.note_other(**dict(other, text="") if hidden else other)
        notes.sync(older=journal.MOMENT)
        if notes.problem and not self._told:
            self._told = True
            outcome["warnings"] = list(outcome.get("warnings") or ()) + [notes.problem]

    def lent(self, uid, check):
        """A Recorder for a process that is about to become another user; in check mode it needs no journal."""
        copy = Recorder(self._blob)
        copy.overlay = self.overlay
        copy.journal = self.journal.lend(uid) if self.journal is not None and not check else None
        return copy

    def sync(self):
        """Wait until the journal is on the disk."""
        if self.journal is not None:
            self.journal.sync()

    def close(self):
        """End the journal."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None


def _predicts(name):
    """True for a module all of whose changes the journal and the overlay see."""
    module = modules.load(name)
    return hasattr(module, "predict") or getattr(module, "PREDICTS", False)


def _summary(outcome):
    for key in SHOWN:
        value = outcome.get(key)
        if value:
            text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            return text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return ""
