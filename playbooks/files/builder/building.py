"""The build: sources, configuration, compilation, collection. Each step is gone on with where it was cut off.

SPEC.json (its folder is the work folder; beside it lie the archive and config.cmake):

    {"archive": "source.tar.gz", "archive_sha256": "..", "config": "config.cmake" or null, "config_sha256": "..",
     "toolchain": {"c", "cxx", "cmake", "ninja", "make", "ccache", "strip": paths or "",
                   "identity": {..}, "llvm": "14.0.6" or ""},
     "toolchain_file": text for CMAKE_TOOLCHAIN_FILE or "", "arguments": {"CMAKE_BUILD_TYPE": "Release", ..},
     "flags": {"c": [..], "cxx": [..], "link": [..]}, "targets": ["tvm_runtime"], "environment": {..},
     "memory": {"compile": bytes, "link": bytes}, "most_jobs": null, "swap": true, "disk": bytes, "hours": 24,
     "nice": 0, "inputs": "any text", "install": [rules, see collect.py]}

`@WORK@` in arguments, flags and environment is the work folder.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time

import collect
import compiling
import memory
import probe
import sources
import swap
from faults import BuildFault
from running import Log, tell

LOCK_NOTICE = 2.0  # seconds of waiting before it is said
DEFAULTS = {
    "config": None, "toolchain_file": "", "arguments": {}, "flags": {}, "environment": {}, "most_jobs": None,
    "memory": {"compile": 1500 << 20, "link": 4000 << 20}, "swap": True, "disk": 0, "hours": 24, "install": [],
    "targets": [], "nice": 0, "inputs": "", "archive_sha256": "",
    "config_sha256": "",
}  # fmt: skip


class Build:
    """What the steps of one build share."""

    def __init__(self, work, spec, digest):
        self.work = work
        self.spec = dict(DEFAULTS, **spec)
        self.digest = digest
        self.source = os.path.join(work, "src")
        self.folder = os.path.join(work, "build")
        self.swap = swap.Swap(work)
        self.deadline = time.monotonic() + float(self.spec["hours"]) * 3600
        self.log = None
        self.lock = None
        self.notes = []
        self.seconds = {}
        self.result = {}

    def note(self, text):
        """Something that people should know; shown now, and part of the result."""
        self.notes.append(text)
        tell(text)

    @contextlib.contextmanager
    def step(self, name):
        """Measures a step and names it in faults."""
        started = time.monotonic()
        try:
            yield
        except BuildFault as fault:
            fault.step = fault.step or name
            raise
        except (IOError, OSError) as error:
            raise disk_fault(error, self.work, name)
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - started, 1)


def build(path):
    """Do what the spec at `path` says; returns the result, whatever happens."""
    started = time.monotonic()
    work = os.path.dirname(path)
    one = None
    try:
        one = _load(path)
        result = _locked(one)
    except BuildFault as fault:
        result = _failed(work, one, fault)
    except (IOError, OSError) as error:
        result = _failed(work, one, disk_fault(error, work, ""))
    result.update(seconds=dict(one.seconds if one else {}, total=round(time.monotonic() - started, 1)))
    result["notes"] = one.notes if one else []
    return result


def _load(path):
    try:
        with open(path, "rb") as stream:
            raw = stream.read()
        spec = json.loads(raw.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise BuildFault("%s cannot be read: %s" % (path, error), "run the playbook again: it writes this file")
    return Build(os.path.dirname(path), spec, hashlib.sha256(raw).hexdigest())


def _locked(one):
    handle = os.open(os.path.join(one.work, "lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _take(handle, one)
        # The build tool inherits it: while one that lost its master still writes there, nobody else begins.
        one.lock = handle
        sweep(one.work)
        return _steps(one)
    finally:
        os.close(handle)


def _take(handle, one):
    started, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except (IOError, OSError):
            pass
        if time.monotonic() > one.deadline:
            raise BuildFault(
                "another build has worked in %s for %s hours" % (one.work, one.spec["hours"]), "end it", "wait"
            )
        if not told and time.monotonic() - started > LOCK_NOTICE:
            tell("waiting for the build that works in %s" % one.work)
            told = True
        time.sleep(0.2)


def _steps(one):
    out = os.path.join(one.work, "out.tar.gz")
    inputs = _inputs(one)
    before = _done(one.work, inputs, out)
    if before is not None:
        return dict(before, outcome="unchanged")
    _room(one)
    one.log = Log(os.path.join(one.work, "build.log"))
    try:
        with one.step("unpack"):
            archive = os.path.join(one.work, one.spec["archive"])
            sources.unpack(archive, one.source, one.spec["archive_sha256"], tell)
        compiling.configure(one)
        compiling.make(one)
        with one.step("collect"):
            one.result["out"] = collect.collect(one.work, one.spec["install"], one.spec["toolchain"]["strip"], out)
    finally:
        if one.swap.size:
            tell("removing the swap file")
            why = one.swap.remove()
            if why:
                one.note("%s stays until the next build or a restart: %s" % (one.swap.path, why))
        one.log.close()
    result = dict(one.result, outcome="built", log=one.log.path, work=one.work)
    with one.step("collect"):
        _write_json(os.path.join(one.work, "done.json"), {"inputs": inputs, "result": result})
    return result


def _inputs(one):
    """What the result depends on, in one hash: the spec, the archive, the configuration."""
    digest = hashlib.sha256(one.digest.encode())
    names = [one.spec["archive"]] + ([one.spec["config"]] if one.spec["config"] else [])
    for name in names:
        digest.update(sources.file_sha256(os.path.join(one.work, name)).encode())
    return digest.hexdigest()


def _done(work, inputs, out):
    """The result of an earlier build of the same inputs, None when there is none."""
    try:
        with open(os.path.join(work, "done.json"), "rb") as stream:
            done = json.loads(stream.read().decode("utf-8"))
        same = done["inputs"] == inputs and sources.file_sha256(out) == done["result"]["out"]["sha256"]
    except (OSError, ValueError, KeyError, BuildFault):
        return None
    return done["result"] if same else None


def _room(one):
    used = sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(one.work) for name in names)
    free = probe.free_bytes(one.work)
    if free + used < one.spec["disk"]:
        raise BuildFault(
            "no room in %s: the build needs about %d MB, %d MB are free"
            % (one.work, one.spec["disk"] >> 20, free >> 20),
            "make room, or build in another folder or on another host",
            "unpack",
        )
    behind = memory.clock_behind(one.folder)
    if behind:
        raise BuildFault(
            "the clock is %d s behind the files of the last build: what is out of date cannot be told" % behind,
            "set the clock (playbooks/clock.yml), then build again",
            "unpack",
        )


def disk_fault(error, work, step):
    """An OSError as a fault that a person understands."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = probe.free_bytes(work) >> 20
        message = "the disk is full: No space left on device in %s (%d MB are free now)" % (work, free)
        return BuildFault(message, "make room and build again: it goes on where it was", step)
    return BuildFault("%s: %s" % (error.filename or work, error.strerror or error), "see the log", step)


def _failed(work, one, fault):
    result = dict(one.result if one else {}, outcome="failed", work=work, step=fault.step)
    result.update(message=fault.message, hint=fault.hint, log=os.path.join(work, "build.log"))
    result.setdefault("error", None)
    return result


def sweep(work=None):
    """Remove swap files that killed builds have left, those of builds that still run excepted; returns their paths."""
    removed = []
    left = swap.leftovers()
    if work is not None:
        own = os.path.join(os.path.realpath(work), swap.NAME)
        left = left + ([own] if own not in left and os.path.exists(own) else [])
    for path in left:
        mine = work is not None and os.path.dirname(path) == os.path.realpath(work)
        if (mine or _unused(os.path.dirname(path))) and not swap.remove(path):
            removed.append(path)
    return removed


def _unused(folder):
    try:
        with open(os.path.join(folder, "lock"), "a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError) as error:
        return error.errno == errno.ENOENT
    return True


def _write_json(path, value):
    with open(path + ".new", "w") as stream:
        stream.write(json.dumps(value, sort_keys=True))
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(path + ".new", path)


def complaint(result):
    """What a person should read of a failed build, in few lines."""
    if result["outcome"] != "failed":
        return []
    lines = [result["message"]]
    error = result.get("error")
    if error:
        lines += ["  | " + text for text in error["context"][:8]]
    lines += [text for text in (result["hint"],) if text]
    return lines + ["the whole log: %s" % result["log"]]
