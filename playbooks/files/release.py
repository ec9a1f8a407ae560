"""Check an unpacked release against its manifest and make it ready; or see that there is room for one.

    python3 release.py room FOLDER BYTES     fails when the file system of FOLDER has less than that free
    python3 release.py finish FOLDER         every file's SHA-256, then byte code, then FOLDER/.complete

Standard library only, Python 3.5 or newer.
"""

import compileall
import hashlib
import json
import os
import sys

RESERVE = 20 * 1024 * 1024  # bytes left for the rest of the system
COMPLETE = ".complete"


def main(arguments):
    """Exit status 0, or 1 and one line."""
    action, folder = arguments[0], arguments[1]
    problem = room(folder, int(arguments[2])) if action == "room" else finish(folder)
    if problem:
        print(problem)
    return 1 if problem else 0


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


def finish(folder):
    """Why the release cannot be used; None once it is complete."""
    with open(os.path.join(folder, "manifest.json"), "rb") as stream:
        manifest = json.loads(stream.read().decode("utf-8"))
    for name, entry in sorted(manifest["files"].items()):
        problem = _check(os.path.join(folder, name), entry)
        if problem:
            return "%s: %s; remove %s and provision again" % (name, problem, folder)
    # The server's user may not write here: without byte code every start would compile anew.
    compileall.compile_dir(folder, quiet=2)
    partial = os.path.join(folder, COMPLETE + ".new")
    with open(partial, "w") as stream:
        stream.write("checked\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(partial, os.path.join(folder, COMPLETE))
    return None


def _check(path, entry):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(1 << 20), b""):
                digest.update(piece)
    except (IOError, OSError) as error:
        return "cannot be read (%s)" % error.strerror
    return None if digest.hexdigest() == entry["sha256"] else "its content is damaged"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
