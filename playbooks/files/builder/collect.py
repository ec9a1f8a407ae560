"""What a build leaves: the files that the install rules name, in an archive that is the same bytes every time.

A rule is {"file": PATH, "to": PATH} or {"tree": FOLDER, "to": FOLDER, "include": [GLOB], "exclude": [GLOB]}; the first
path is within the work folder, `to` within the archive. "strip": true strips, "optional": true allows it to be missing,
"mode": "0755" is the mode in the archive.
"""

import fnmatch
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile

from faults import BuildFault

SECONDS = 300


def collect(work, rules, strip, out):
    """Write the archive `out`; returns {"path", "sha256", "size", "files"}. Raises BuildFault."""
    chosen = {}
    for rule in rules:
        for name, path in _files(work, rule):
            chosen[name] = (path, rule)
    if not chosen:
        raise BuildFault("the install rules name no file", "give the build at least one rule", "collect")
    scratch = os.path.join(work, "collected")
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    try:
        with open(out + ".new", "wb") as stream:
            _write(stream, chosen, strip, scratch)
        with open(out + ".new", "rb") as stream:
            os.fsync(stream.fileno())
            digest = hashlib.sha256()
            for piece in iter(lambda: stream.read(1 << 20), b""):
                digest.update(piece)
        os.rename(out + ".new", out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"path": out, "sha256": digest.hexdigest(), "size": os.path.getsize(out), "files": len(chosen)}


def _files(work, rule):
    """[(name in the archive, path)] that a rule stands for, sorted."""
    source = os.path.join(work, rule.get("file") or rule["tree"])
    if rule.get("file"):
        if os.path.isfile(source):
            return [(rule["to"], source)]
        found = []
    else:
        found = []
        for folder, names, files in os.walk(source):
            names.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, source)
                if os.path.isfile(path) and _takes(rule, inside):
                    found.append((os.path.join(rule["to"], inside), path))
    if not found and not rule.get("optional"):
        what = rule.get("file") or rule["tree"]
        raise BuildFault("the build has left no %s" % what, "the target that makes it was not built", "collect")
    return found


def _takes(rule, name):
    wanted = any(fnmatch.fnmatchcase(name, glob) for glob in rule.get("include", ["*"]))
    return wanted and not any(fnmatch.fnmatchcase(name, glob) for glob in rule.get("exclude", []))


def _write(stream, chosen, strip, scratch):
    with gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for number, name in enumerate(sorted(chosen)):
                path, rule = chosen[name]
                if rule.get("strip"):
                    path = _stripped(path, os.path.join(scratch, str(number)), strip)
                member = tarfile.TarInfo(name)
                with open(path, "rb") as source:
                    data = source.read()
                member.size = len(data)
                usual = "0755" if os.access(path, os.X_OK) else "0644"
                member.mode = int(rule.get("mode") or usual, 8)
                tar.addfile(member, io.BytesIO(data))


def _stripped(path, copy, strip):
    if not strip:
        raise BuildFault("there is no strip program for %s" % path, "install the compiler's binutils", "collect")
    shutil.copy(path, copy)
    try:
        done = subprocess.run(
            [strip, "--strip-unneeded", copy], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildFault("%s of %s took more than %d s" % (strip, path, SECONDS), "run the build again", "collect")
    if done.returncode != 0:
        said = done.stdout.decode("utf-8", "replace").strip()
        raise BuildFault("%s of %s failed: %s" % (strip, path, said), "is it the right architecture's?", "collect")
    return copy
