"""The releases of a board: what there is, which was switched to when, which to go back to, what may be removed.

    python3 releases.py list PREFIX             one JSON object
    python3 releases.py note PREFIX KEY HOW     KEY is current and works: a new line of PREFIX/releases/.history, unless
                                                the last one says so; HOW: switch, or back to an earlier one
    python3 releases.py fallback PREFIX KEY     what to go back to should KEY not work: the last noted one, or nothing
    python3 releases.py previous PREFIX         the release before the current one; exit status 3: none
    python3 releases.py about PREFIX KEY        what its manifest says of it; exit status 3 when it cannot be used
    python3 releases.py gc PREFIX KEEP STATE [--check]
                                                remove all but the newest KEEP, what is used and what to go back to;
                                                STATE has the proofs of releases; one JSON object

Standard library only, Python 3.5 or newer.
"""

import glob
import json
import os
import re
import shutil
import sys
import time

KEY = re.compile(r"^[0-9a-f]{16}$")
STALE_SECONDS = 3600.0  # a release that nobody has gone on unpacking for so long is a left-over
HISTORY_LINES = 200
REFUSED = 3


def main(arguments):
    """Exit status 0, or 3 and one line that says what is not."""
    action, prefix = arguments[0], os.path.abspath(arguments[1])
    releases = Releases(prefix)
    if action == "list":
        print(json.dumps(releases.describe(), sort_keys=True))
        return 0
    if action == "note":
        print("noted" if releases.note(arguments[2], arguments[3]) else "known")
        return 0
    if action == "fallback":
        print(releases.fallback(arguments[2]) or "")
        return 0
    if action == "previous":
        return _answer(releases.previous(), releases.why_no_previous)
    if action == "about":
        return _answer(releases.about(arguments[2]), lambda: releases.why_not(arguments[2]))
    if action == "gc":
        removed = releases.collect(int(arguments[2]), arguments[3], "--check" in arguments)
        print(json.dumps(removed, sort_keys=True))
        return 0
    sys.stderr.write(__doc__)
    return 2


def _answer(found, why):
    print(found if found else why())
    return 0 if found else REFUSED


class Releases:
    """The folder of releases below a prefix."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.folder = os.path.join(prefix, "releases")
        self._history = os.path.join(self.folder, ".history")

    def keys(self):
        """All that is there, complete or not."""
        try:
            return sorted(name for name in os.listdir(self.folder) if KEY.match(name))
        except OSError:
            return []

    def current(self):
        """The key of the current release; None when there is none."""
        try:
            key = os.path.basename(os.readlink(os.path.join(self.prefix, "current")))
        except OSError:
            return None
        return key if os.path.isdir(os.path.join(self.folder, key)) else None

    def usable(self, key):
        """True for a release that could become current."""
        return self._has(key, ".complete") and not self._has(key, ".bad")

    def history(self):
        """[{"time", "key", "how"}], the oldest first; lines that a power cut has worn are left out."""
        found = []
        for line in _read(self._history).splitlines():
            try:
                entry = json.loads(line)
                found.append({"time": int(entry["time"]), "key": str(entry["key"]), "how": str(entry["how"])})
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def note(self, key, how):
        """Write down that `key` became current, unless the last line says so -> whether it was written."""
        history = self.history()
        if history and history[-1]["key"] == key:
            return False
        entries = history[1 - HISTORY_LINES :] + [{"time": int(time.time()), "key": key, "how": how}]
        partial = self._history + ".new"
        with open(partial, "w") as stream:
            stream.write("".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(partial, self._history)
        return True

    def fallback(self, key):
        """The release that worked last, unless that is `key` itself; None. A board without a history gets one."""
        if not self.history() and self.current() not in (None, key):
            self.note(self.current(), "switch")
        history = self.history()
        if history and history[-1]["key"] == key:
            return None
        known = [entry["key"] for entry in history if entry["key"] != key and self.usable(entry["key"])]
        return known[-1] if known else None

    def trail(self):
        """The releases that were switched to and not gone back from, the oldest first; the last one is current."""
        trail = []
        for entry in self.history():
            if entry["how"] == "back" and entry["key"] in trail:
                del trail[trail.index(entry["key"]) + 1 :]
            elif entry["key"] not in trail[-1:]:
                trail = [key for key in trail if key != entry["key"]] + [entry["key"]]
        current = self.current()
        if current in trail:
            del trail[trail.index(current) + 1 :]
        elif current is not None:  # power was lost before it was noted
            trail.append(current)
        return trail

    def previous(self):
        """The key to go back to, which is the current one when the last step was one back; None."""
        history, current = self.history(), self.current()
        if history and history[-1] == dict(history[-1], key=current, how="back"):
            return current
        return self.before()

    def before(self):
        """The release that was current before this one and can be used; None."""
        earlier = [key for key in self.trail()[:-1] if self.usable(key)]
        return earlier[-1] if earlier else None

    def why_no_previous(self):
        """For people."""
        others = [key for key in self.keys() if self.usable(key) and key != self.current()]
        there = "; there are: %s (release.switch --key)" % ", ".join(others) if others else ""
        return "no release was current before %s%s" % (self.current() or "this", there)

    def about(self, key):
        """The manifest without its list of files, as JSON; None when the release cannot be used."""
        if not self.usable(key):
            return None
        manifest = self._manifest(key)
        about = {name: value for name, value in manifest.items() if name != "files"}
        return json.dumps(dict(about, python_path=self._python(key)), sort_keys=True)

    def why_not(self, key):
        """For people: why a release cannot be switched to."""
        if self._has(key, ".bad"):
            return "release %s was found broken: %s; --force uses it all the same" % (key, self._why_bad(key))
        if key in self.keys():
            return "release %s is not complete: ship it again" % key
        known = [one for one in self.keys() if self.usable(one)]
        return "there is no release %s here; there are: %s" % (key, ", ".join(known) or "none")

    def describe(self):
        """What people want to know of every release."""
        current, before, used = self.current(), self.before(), self.in_use()
        since = {entry["key"]: entry["time"] for entry in self.history()}
        rows = []
        for key in self.keys():
            manifest = self._manifest(key)
            rows.append(
                {
                    "key": key,
                    "stack": manifest.get("stack"),
                    "tvm": manifest.get("tvm"),
                    "size": sum(int(entry["size"]) for entry in manifest.get("files", {}).values()),
                    "own": _own_bytes(os.path.join(self.folder, key)),
                    "current": key == current,
                    "previous": key == before,
                    "complete": self._has(key, ".complete"),
                    "bad": self._why_bad(key) if self._has(key, ".bad") else None,
                    "in_use": key in used,
                    "switched": since.get(key),
                }
            )
        return {"current": current, "previous": before, "releases": rows}

    def in_use(self):
        """Releases of which a process has files in memory."""
        # The kernel names files by where they are, not by links that lead there.
        pattern = re.compile(re.escape(os.path.realpath(self.folder)).encode("utf-8") + b"/([0-9a-f]{16})/")
        found = set()
        for folder in glob.glob("/proc/[0-9]*"):
            try:
                with open(folder + "/maps", "rb") as stream:
                    found.update(key.decode("ascii") for key in pattern.findall(stream.read()))
            except (IOError, OSError):
                continue
        return found

    def collect(self, keep, state, check):
        """Remove what may go -> {"removed", "kept", "bytes"}."""
        sacred = {self.current(), self.before()} | self.in_use()
        complete = sorted((key for key in self.keys() if self.usable(key)), key=self._age)
        kept = set(complete[:keep])
        # Left-overs and broken ones count as none of the newest.
        going = [
            key for key in self.keys() if key not in sacred | kept and (self._has(key, ".complete") or self._stale(key))
        ]
        freed = sum(_own_bytes(os.path.join(self.folder, key)) for key in going)
        if not check:
            for key in going:
                self._remove(key)
            for proof in glob.glob(os.path.join(state, "smoke-*.json")):
                if os.path.basename(proof)[len("smoke-") : -len(".json")] in going:
                    os.unlink(proof)
        return {"removed": going, "kept": [key for key in self.keys() if key not in going], "bytes": freed}

    def _remove(self, key):
        # First it ceases to be complete: half a release must never look like a whole one.
        path = os.path.join(self.folder, key)
        if self._has(key, ".complete"):
            os.unlink(os.path.join(path, ".complete"))
        shutil.rmtree(path)

    def _age(self, key):
        """Seconds since it was last switched to, or else since it was unpacked; the newest comes first."""
        since = {entry["key"]: entry["time"] for entry in self.history()}
        made = os.stat(os.path.join(self.folder, key, ".complete")).st_mtime
        return -max(since.get(key, 0), made)

    def _stale(self, key):
        try:
            newest = max(os.stat(folder).st_mtime for folder, _, _ in os.walk(os.path.join(self.folder, key)))
        except (OSError, ValueError):  # somebody is at work on it
            return False
        return abs(time.time() - newest) > STALE_SECONDS

    def _has(self, key, name):
        return bool(KEY.match(key)) and os.path.exists(os.path.join(self.folder, key, name))

    def _python(self, key):
        """The Python that checked the release, which is the one that runs it; "" when that was not written down."""
        try:
            return str(json.loads(_read(os.path.join(self.folder, key, ".complete")))["python"])
        except (ValueError, KeyError, TypeError):
            return ""

    def _why_bad(self, key):
        try:
            return str(json.loads(_read(os.path.join(self.folder, key, ".bad")))["why"])
        except (ValueError, KeyError, TypeError):
            return "unknown"

    def _manifest(self, key):
        try:
            return dict(json.loads(_read(os.path.join(self.folder, key, "manifest.json"))))
        except (ValueError, TypeError):
            return {}


def _own_bytes(folder):
    """What removing the folder would free: files that no other release has."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            about = os.lstat(os.path.join(place, name))
            total += about.st_blocks * 512 if about.st_nlink == 1 else 0
    return total


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except (IOError, OSError):
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
