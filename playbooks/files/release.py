"""Put a release on the board: see that there is room, take over what an older one has, check every file.

    python3 release.py usable FOLDER         exit status 3 and why when the release was found broken before
    python3 release.py room FOLDER BYTES     fails when the file system of FOLDER has less than that free
    python3 release.py assemble FOLDER BASE  files of FOLDER's manifest that are not there yet, from the release BASE
    python3 release.py finish FOLDER         every file's SHA-256, then byte code, then FOLDER/.complete
    python3 release.py bad FOLDER WHY        it was found broken: it is kept aside and not used any more

Standard library only, Python 3.5 or newer.
"""

import base64
import compileall
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time

RESERVE = 20 * 1024 * 1024  # bytes left for the rest of the system
COMPLETE, BAD, BYTE_CODE, PIECES = ".complete", ".bad", ".bytecode.json", ".pieces.json"
REFUSED = 3


def main(arguments):
    """Exit status 0, or 1 (3 where it is a verdict) and one line."""
    action, folder = arguments[0], arguments[1]
    if action == "usable":
        return _report(broken(folder), REFUSED)
    if action == "room":
        return _report(room(folder, int(arguments[2])))
    if action == "assemble":
        return _report(assemble(folder, arguments[2]))
    if action == "finish":
        return _report(finish(folder))
    if action == "bad":
        mark_bad(folder, arguments[2])
        return 0
    sys.stderr.write(__doc__)
    return 2


def _report(problem, status=1):
    if problem:
        print(problem)
    return status if problem else 0


def broken(folder):
    """Why the release must not be used; None when nothing is known against it."""
    try:
        with open(os.path.join(folder, BAD)) as stream:
            found = json.load(stream)
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(found["time"]))
        why = "on %s UTC: %s" % (when, found["why"])
    except (IOError, OSError):
        return None
    except (ValueError, KeyError, TypeError):
        why = "before"
    return "release %s was found broken %s; to try it again: --force, or tvmops_release_force=true" % (
        os.path.basename(folder),
        why,
    )


def mark_bad(folder, why):
    """Note that the release is broken."""
    write(os.path.join(folder, BAD), json.dumps({"time": int(time.time()), "why": " ".join(why.split())[:1000]}) + "\n")


def room(folder, wanted):
    """Why there is too little space for `wanted` bytes; None when there is enough."""
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free >= wanted + RESERVE:
        return None
    return "no room in %s: the runtime needs %d MB and a reserve of %d MB, %d MB are free" % (
        folder,
        wanted // 1000000 + 1,
        RESERVE // 1000000,
        free // 1000000,
    )


def assemble(folder, base):
    """Why BASE has not all that is missing; None when nothing is missing any more.

    Equal files become one file with two names. What is damaged in BASE is not taken.
    """
    try:
        in_base = _files(base)
        _put_together(folder, base)
        wanted = _files(folder)
    except (IOError, OSError, ValueError, KeyError) as error:
        return "the older release %s cannot be used: %s" % (base, error)
    offered = {_content(entry): name for name, entry in in_base.items()}
    missing, damaged = [], []
    for name, entry in sorted(wanted.items()):
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            continue
        if _content(entry) not in offered:
            missing.append(name)
            continue
        source = os.path.join(base, offered[_content(entry)])
        if check(source, entry) is not None:
            damaged.append(name)
            continue
        _take_over(source, path)
    if damaged and not _is_current(base):
        mark_bad(base, "its file %s is damaged" % offered[_content(wanted[damaged[0]])])
    if missing or damaged:
        about = (base, len(missing + damaged), (damaged + missing)[0])
        return "%s lacks, or has damaged, %d of the files wanted from it: %s" % about
    _remove(os.path.join(folder, PIECES))
    _take_over_byte_code(folder, base, {name: entry["sha256"] for name, entry in wanted.items()})
    return None


def _content(entry):
    """What two files must have in common to be one: their content and, as it is one file, their mode."""
    return entry["sha256"], entry.get("mode")


def _is_current(folder):
    """A release that is in use is left to its owner, and must stay one to go back to."""
    current = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(folder))), "current")
    return os.path.realpath(current) == os.path.realpath(folder)


def _put_together(folder, base):
    """Make the files that came as pieces: of a file of BASE, and what is new. One whose old file is damaged is left."""
    try:
        with open(os.path.join(folder, PIECES), "rb") as stream:
            sent = json.loads(stream.read().decode("utf-8"))
    except (IOError, OSError):
        return  # nothing came in pieces, or it was all put together before
    for name, entry in sorted(sent.items()):
        source, path = os.path.join(base, entry["from"]), os.path.join(folder, name)
        if os.path.lexists(path) or check(source, {"sha256": entry["from_sha256"]}) is not None:
            continue
        with open(source, "rb") as stream:
            old = stream.read()
        _make_folder(path)
        partial = path + ".new"
        with open(partial, "wb") as target:
            for piece in entry["pieces"]:
                target.write(_piece(old, piece))
        os.chmod(partial, entry["mode"])
        os.utime(partial, (0, 0))  # as all files of archives
        os.rename(partial, path)


def _piece(old, piece):
    if isinstance(piece, list):
        return old[piece[0] : piece[0] + piece[1]]
    return base64.b64decode(piece["base64"]) if isinstance(piece, dict) else piece.encode("utf-8")


def _take_over_byte_code(folder, base, sources):
    """Byte code that BASE has of sources with the same name and content, and that is as it was when it was made."""
    for name, entry in _byte_code(base).items():
        path = os.path.join(folder, name)
        same = sources.get(entry["source"]) == entry["source_sha256"]
        if same and not os.path.lexists(path) and check(os.path.join(base, name), entry) is None:
            _take_over(os.path.join(base, name), path)


def _byte_code(folder):
    """{path of byte code: {"sha256", "source", "source_sha256"}} as it was noted when it was made."""
    try:
        with open(os.path.join(folder, BYTE_CODE), "rb") as stream:
            return dict(json.loads(stream.read().decode("utf-8")))
    except (IOError, OSError, ValueError, TypeError):
        return {}


def _take_over(source, path):
    _make_folder(path)
    try:
        os.link(source, path)
    except OSError:  # a file system without links
        partial = path + ".new"
        shutil.copy2(source, partial)
        os.rename(partial, path)


def _make_folder(path):
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path), 0o755)


def finish(folder):
    """Why the release cannot be used; None once it is complete. Wrong files are removed: another try brings them."""
    wrong = []
    for name, entry in sorted(_files(folder).items()):
        path = os.path.join(folder, name)
        problem = check(path, entry)
        if problem:
            wrong.append("%s: %s" % (name, problem))
            _remove(path)
    if wrong:
        return "%s (%d of %s are wrong)" % (wrong[0], len(wrong), folder)
    # The server's user may not write here: without byte code every start would compile anew.
    compileall.compile_dir(folder, quiet=2)
    _note_byte_code(folder)
    _sync()
    # Which Python it runs in: whoever switches back to it must know.
    write(os.path.join(folder, COMPLETE), json.dumps({"python": sys.executable}) + "\n")
    return None


def _note_byte_code(folder):
    noted = {}
    for name, entry in _files(folder).items():
        if not name.endswith(".py"):
            continue
        path = importlib.util.cache_from_source(name)
        digest = _sha256(os.path.join(folder, path))
        if digest is not None:
            noted[path] = {"sha256": digest, "source": name, "source_sha256": entry["sha256"]}
    write(os.path.join(folder, BYTE_CODE), json.dumps(noted, sort_keys=True) + "\n")


def check(path, entry):
    """What is wrong with a file of the manifest; None when nothing is."""
    try:
        return None if _digest(path) == entry["sha256"] else "its content is damaged"
    except (IOError, OSError) as error:
        return "cannot be read (%s)" % error.strerror


def _sha256(path):
    """The digest of a file's content; None when it cannot be read."""
    try:
        return _digest(path)
    except (IOError, OSError):
        return None


def _digest(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def write(path, text):
    """Put a small file in place in one step, and on the disk."""
    partial = path + ".new"
    with open(partial, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(partial, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system whose folders cannot be synced
            raise
    finally:
        os.close(folder)


def _sync():
    """All that was written is on the disk before .complete says so."""
    if hasattr(os, "sync"):
        os.sync()


def _remove(path):
    try:
        os.unlink(path)
    except (IOError, OSError):
        pass


def _files(folder):
    with open(os.path.join(folder, "manifest.json"), "rb") as stream:
        return json.loads(stream.read().decode("utf-8"))["files"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
