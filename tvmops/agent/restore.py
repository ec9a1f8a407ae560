"""Undoing a run: its journal backwards, path by path, where what the run left is still there."""

import json
import os
import shutil
import stat

from . import diff, files, journal
from .context import ModuleError
from .files import CHUNK
from .inodes import TEMPORARY
from .node import Unknown

INDEX = os.path.join("journal", "index")
CHANGED_SINCE = "it is no longer what the run left"


def runs(folder):
    """What the journals in a folder of runs say of themselves, oldest first."""
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        try:
            entries = journal.read(os.path.join(folder, name, INDEX))
        except (IOError, OSError):
            continue
        if entries:
            found.append(_described(name, entries))
    return sorted(found, key=lambda one: one["started"])


def _described(name, entries):
    header = entries[0]
    live = [one for _, one in _live(entries)]
    return {
        "run": name,
        "what": header.get("what"),
        "owner": header.get("owner"),
        "started": header.get("started", 0),
        "paths": len({one["path"] for one in live if "path" in one}),
        "others": sum("other" in one for one in live),
        "undone_by": sorted({one["by"] for one in entries if "undone" in one} - _redone(entries)),
    }


def _redone(entries):
    return {one["redone"] for one in entries if "redone" in one}


def _live(entries):
    """[(number, entry), ...] of what is not undone already, in order."""
    redone = _redone(entries)
    undone = {one["undone"] for one in entries if "undone" in one and one["by"] not in redone}
    return [
        (number, entry)
        for number, entry in enumerate(entries)
        if ("path" in entry or "other" in entry) and number not in undone
    ]


class Restoration:
    """One run being undone. `run` may be undone several times: what is undone already is passed over."""

    def __init__(self, folder, run, force=False, show_diff=False):
        self._folder = os.path.join(folder, run)
        self._index = os.path.join(self._folder, INDEX)
        self._force = force
        self._show_diff = show_diff
        try:
            self._entries = journal.read(self._index)
        except FileNotFoundError:
            self._entries = []
        if not self._entries:
            raise ModuleError("there is no journal of a run %s on this board for this user" % run)
        self._first = {}
        for entry in reversed(self._entries):
            if "path" in entry:
                self._first[entry["path"]] = entry["was"]
        self._markers = []
        self._refused = {}
        self._copied = []  # paths put back as copies: not the same inodes, but what the run had at that time
        self.undone = []  # paths, in the order they were undone
        self.lost = {}  # path -> why its old content is not there any more
        self.others = []  # what is no file
        self.diffs = []

    @property
    def restored_run(self):
        """The run that the run itself had undone, None when it was an ordinary one."""
        return self._entries[0].get("restores")

    @property
    def conflicts(self):
        """{path: why it was left as it is}."""
        return dict(self._refused)

    def carry_out(self, by, progress):
        """Undo what can be undone, last change first. `by`: the run that does it."""
        live = _live(self._entries)
        for number, entry in reversed(live):
            if "other" in entry:
                self.others.append({key: entry[key] for key in entry if key != "task"})
                continue
            if entry["path"] in self._refused:
                continue
            progress(entry["path"])
            try:
                done = self._undo(entry)
            except (OSError, Unknown) as error:
                self._refused[entry["path"]] = getattr(error, "strerror", None) or str(error)
                continue
            if done:
                self._markers.append({"undone": number, "by": by})
        self.others.reverse()

    def remove_leftovers(self):
        """Remove the incomplete files that a killed agent or a power cut has left beside the run's paths."""
        for directory in {os.path.dirname(entry["path"]) for entry in self._entries if "path" in entry}:
            try:
                names = [name for name in os.listdir(directory) if name.startswith(TEMPORARY)]
            except OSError:
                continue
            for name in names:
                status = os.lstat(os.path.join(directory, name))
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    os.unlink(os.path.join(directory, name))

    def write_markers(self, by):
        """Note in the run's journal what was undone, and in the one it had undone that this is done again."""
        self._append(self._index, self._markers)
        if self.restored_run is not None and not self._refused:
            other = os.path.join(os.path.dirname(self._folder), self.restored_run, INDEX)
            if os.path.exists(other):
                self._append(other, [{"redone": self._entries[0]["run"], "by": by}])

    @staticmethod
    def _append(path, entries):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            for entry in entries:
                os.write(descriptor, journal.line_of(entry))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _undo(self, entry):
        """Undo one change. False when that cannot be; the reason is noted."""
        path, was, now = entry["path"], entry["was"], entry["now"]
        present = present_state(path)
        if not matches(present, now, entry["how"]) and not self._is_copied(path):
            if matches(present, was, entry["how"]) or matches(present, self._first[path], "content"):
                return True
            if not self._force:
                self._refused[path] = CHANGED_SINCE
                return False
        if "lost" in was:
            self.lost[path] = was["lost"]
            return False
        before = self._shown(path, present)
        if not UNDO[entry["how"]](self, path, present, was):
            return False
        if path not in self.undone:
            self.undone.append(path)
        if self._show_diff:
            self._add_diff(path, before, self._shown(path, present_state(path)))
        return True

    def _is_copied(self, path):
        return any(path == one or path.startswith(one + "/") for one in self._copied)

    def _add_diff(self, path, before, after):
        if "absent" in (before["state"], after["state"]):
            before, after = ({k: one[k] for k in ("state", "content") if k in one} for one in (before, after))
        self.diffs += diff.of_states(before, after, path)

    def _shown(self, path, state):
        if not self._show_diff:
            return {}
        shown = {"state": state["kind"]}
        if state["kind"] == "link":
            shown["target"] = state["target"]
        elif state["kind"] != "absent":
            shown.update(mode="%04o" % state["mode"], owner=state["uid"], group=state["gid"])
        if state["kind"] == "file":
            shown["content"] = diff.file_content(path)
        return shown

    def _undo_content(self, path, present, was):
        if present["kind"] == "directory" and was["kind"] != "directory":
            if files.names(path):
                self._refused[path] = "there is something in it that the run did not make"
                return False
            files.remove_directory(path)
        elif was["kind"] in ("absent", "directory") and present["kind"] not in ("absent", was["kind"]):
            files.remove(path)
        return MAKE[was["kind"]](self, path, was)

    def _make_nothing(self, path, was):
        return True

    def _make_file(self, path, was):
        parent = os.path.dirname(path)
        kept = os.path.join(self._folder, "journal", was.get("kept", ""))
        if not self._is_intact(kept, was):
            self.lost[path] = "what was kept of it is gone or was changed"
            return False
        if "links" in was and os.lstat(kept).st_dev == files.need_status(parent).st_dev:
            files.make_hard_link(kept, path)  # it had other names: it is one of them again
            return True
        self._copy(kept, path, was["mode"], was["uid"], was["gid"])
        self._copied.append(path)
        return True

    @staticmethod
    def _is_intact(kept, was):
        """A file kept under a second name can be changed by who has it open, or under a third name."""
        try:
            status = os.lstat(kept)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (was["size"], was["mtime"])

    @staticmethod
    def _copy(kept, path, mode, uid, gid):
        status = os.lstat(kept)
        with open(kept, "rb") as source, files.replacing(path, mode, uid, gid, status.st_mtime_ns) as target:
            shutil.copyfileobj(source, target, CHUNK)
            target.flush()
            if not hasattr(target, "getvalue"):
                shutil._copyxattr(kept, target.name, follow_symlinks=False)

    def _make_link(self, path, was):
        files.make_link(was["target"], path)
        files.set_attributes(path, None, was["uid"], was["gid"], follow=False)
        return True

    def _make_directory(self, path, was):
        if "kept" in was:
            self._make_tree(os.path.join(self._folder, "journal", was["kept"]), path)
            self._copied.append(path)
        else:
            files.make_directories(path)
        files.set_attributes(path, was["mode"], was["uid"], was["gid"])
        return True

    def _make_tree(self, kept, path):
        status = os.lstat(kept)
        if stat.S_ISLNK(status.st_mode):
            self._make_link(path, {"target": os.readlink(kept), "uid": status.st_uid, "gid": status.st_gid})
        elif stat.S_ISREG(status.st_mode):
            self._copy(kept, path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        elif stat.S_ISDIR(status.st_mode):
            files.make_directories(path)
            for name in sorted(os.listdir(kept)):
                self._make_tree(os.path.join(kept, name), os.path.join(path, name))
            files.set_attributes(path, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def _make_other(self, path, was):
        self.lost[path] = "it was a device, a pipe or a socket"
        return False

    def _undo_attributes(self, path, present, was):
        if present["kind"] == "absent":
            self._refused[path] = CHANGED_SINCE
            return False
        mode = None if was["kind"] == "link" else was["mode"]
        files.set_attributes(path, mode, was["uid"], was["gid"], follow=was["kind"] != "link")
        return True

    def _undo_times(self, path, present, was):
        if present["kind"] == "absent":
            self._refused[path] = CHANGED_SINCE
            return False
        files.set_times(path, files.need_status(path).st_atime_ns, was["mtime"])
        return True


UNDO = {
    "content": Restoration._undo_content,
    "attributes": Restoration._undo_attributes,
    "times": Restoration._undo_times,
}
MAKE = {
    "absent": Restoration._make_nothing,
    "file": Restoration._make_file,
    "link": Restoration._make_link,
    "directory": Restoration._make_directory,
    "other": Restoration._make_other,
}


def present_state(path):
    """What is at a path now, or in check mode would be, in the form of the journal; with its inode."""
    found = files.status(path, follow=False)
    if found is None:
        return {"kind": "absent"}
    state = {"kind": files.kind(path), "mode": stat.S_IMODE(found.st_mode), "uid": found.st_uid, "gid": found.st_gid}
    state.update(ino=found.st_ino, size=found.st_size, mtime=found.st_mtime_ns)
    if state["kind"] == "link":
        state["target"] = files.read_link(path)
    return state


def matches(present, state, how):
    """True when what is there is what the journal says, as far as this kind of change is concerned."""
    if present["kind"] != state["kind"]:
        return False
    if how == "times":
        return present["mtime"] == state["mtime"]
    if how == "attributes":
        return all(present[key] == state[key] for key in ("mode", "uid", "gid"))
    if "ino" in state:
        return present["ino"] == state["ino"]
    if state["kind"] == "file":
        return all(present[key] == state[key] for key in ("size", "mtime", "mode", "uid", "gid"))
    return state["kind"] != "link" or present["target"] == state["target"]


def as_text(other):
    """A change that is no file's, for a person."""
    rest = {key: value for key, value in other.items() if key not in ("other", "text")}
    text = other.get("text") or ""
    return " ".join(one for one in (other["other"], text, json.dumps(rest, sort_keys=True) if rest else "") if one)
