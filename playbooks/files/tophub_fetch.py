"""Bring AutoTVM's tuning logs (tophub) into a folder, each checked by its SHA-256.

    python3 tophub_fetch.py JSON

JSON: {"files": [names], "known": {name: SHA-256, or {"sha256": ..}}, "into": FOLDER, "source": SOURCE}. A SOURCE is
    {"kind": "git", "url", "commit", "folder"}     {"kind": "archive", "path" or "url", "sha256"}
    {"kind": "folder", "path"}                     {"kind": "url", "url"}: a base, to which the names are added

Files that are there and right are left alone, and nothing is asked of the source when all are. One line of JSON:
{"changed", "fetched": [names], "folder"}; with exit status 1 its "problem" names what is missing or wrong.

Standard library only, Python 3.5 or newer.
"""

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

NAME = re.compile(r"[a-z0-9_]+_v\d+\.\d+\.log$")
# What each kind must have; of alternatives one.
SOURCES = {"git": (("url",), ("commit",)), "archive": (("path", "url"),), "folder": (("path",),), "url": (("url",),)}
NET_SECONDS = 30  # of silence
GIT_SECONDS = 300
LOCK_SECONDS = 900  # for other hosts of one run, which share the folder
LARGEST = 64 * 1024 * 1024


class Problem(Exception):
    """What hinders, for people."""


def fetch(asked):
    """Names of the files that were brought. Raises Problem."""
    folder = os.path.abspath(os.path.expanduser(asked["into"]))
    wanted = checked_names(asked["files"], asked["known"])
    if not os.path.isdir(folder):
        os.makedirs(folder)
    with open(os.path.join(folder, ".lock"), "w") as lock:
        _lock(lock, folder)
        missing = [name for name in sorted(wanted) if not _is(os.path.join(folder, name), wanted[name])]
        if missing:
            work = tempfile.mkdtemp(prefix=".fetch-", dir=folder)
            try:
                take(asked["source"], missing, work)
                faults = [_fault(os.path.join(work, name), name, wanted[name]) for name in missing]
                if any(faults):
                    raise Problem("%s: %s" % (spoken(asked["source"]), "; ".join(one for one in faults if one)))
                for name in missing:
                    _settle(os.path.join(work, name), os.path.join(folder, name))
            finally:
                shutil.rmtree(work)
    return {"fetched": missing, "folder": folder, "changed": bool(missing)}


def _lock(lock, folder):
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise Problem("%s: another run has had it for more than %d s" % (folder, LOCK_SECONDS))
        time.sleep(0.1)


def checked_names(names, known):
    """{name: SHA-256}. Raises Problem for what is no log's name, or has no known hash."""
    if not names:
        raise Problem("no file was asked for: tophub_files is empty")
    odd = [name for name in names if not NAME.match(name)]
    if odd:
        raise Problem("these are no names of tophub's files, such as arm_cpu_v0.08.log: %s" % ", ".join(odd))
    strange = [name for name in names if name not in known]
    if strange:
        text = "no SHA-256 is known for %s; give it in the variable tophub_sha256"
        raise Problem(text % ", ".join(strange))
    hashes = {name: known[name] for name in names}
    return {name: (one["sha256"] if isinstance(one, dict) else one).lower() for name, one in hashes.items()}


def take(source, names, work):
    """Copy what of `names` the source has into `work`. Raises Problem when the source cannot be used at all."""
    if not isinstance(source, dict):
        raise Problem("tophub_source: a mapping with kind and more, not '%s'" % source)
    kind = source.get("kind")
    if kind not in SOURCES:
        raise Problem("tophub_source: its kind is one of %s, not '%s'" % (", ".join(sorted(SOURCES)), kind))
    for names_of_one in SOURCES[kind]:
        if not any(source.get(name) for name in names_of_one):
            raise Problem("tophub_source of kind %s needs %s" % (kind, " or ".join(names_of_one)))
    {"git": _from_git, "archive": _from_archive, "folder": _from_folder, "url": _from_url}[kind](source, names, work)


def spoken(source):
    """The source in words."""
    return "%s %s" % (source["kind"], source.get("path") or source.get("url"))


def _from_folder(source, names, work):
    folder = os.path.expanduser(source["path"])
    if not os.path.isdir(folder):
        raise Problem("tophub_source: there is no folder %s" % folder)
    for name in names:
        # The repository itself, or the folder of that name in it.
        for path in (os.path.join(folder, name), os.path.join(folder, "tophub", name)):
            if os.path.isfile(path):
                shutil.copyfile(path, os.path.join(work, name))
                break


def _from_url(source, names, work):
    for name in names:
        _download(source["url"].rstrip("/") + "/" + name, os.path.join(work, name))


def _from_archive(source, names, work):
    path = os.path.expanduser(source.get("path") or "")
    if not path:
        path = os.path.join(work, "archive")
        if not _download(source["url"], path):
            raise Problem("%s: there is no such file" % source["url"])
    try:
        if source.get("sha256") and _sha256(path) != source["sha256"].lower():
            text = "%s has the SHA-256 %s, not %s"
            raise Problem(text % (spoken(source), _sha256(path), source["sha256"].lower()))
        with tarfile.open(path) as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if member.isfile() and name in names and member.size <= LARGEST:
                    with open(os.path.join(work, name), "wb") as stream:
                        shutil.copyfileobj(archive.extractfile(member), stream)
    except Problem:
        raise
    except Exception as error:  # tar, gzip, bzip2 and xz each complain in their own way
        raise Problem("%s is no archive that can be read: %s" % (spoken(source), error))


def _from_git(source, names, work):
    commit, folder = source["commit"], source.get("folder", "tophub")
    if not re.match(r"[0-9a-f]{40}$", commit):
        raise Problem("tophub_source: commit is 40 hexadecimal digits, not '%s'" % commit)
    clone = os.path.join(work, "clone")
    _git("init", "--quiet", "--bare", clone)
    try:
        _git("--git-dir", clone, "fetch", "--quiet", "--depth=1", source["url"], commit)
    except Problem:  # not every server gives a commit by its name: everything, then
        _git("--git-dir", clone, "fetch", "--quiet", source["url"], "+refs/heads/*:refs/heads/*")
    for name in names:
        with open(os.path.join(work, name), "wb") as stream:
            argv = ["git", "--git-dir", clone, "cat-file", "blob", "%s:%s/%s" % (commit, folder, name)]
            status = subprocess.call(argv, stdout=stream, stderr=subprocess.DEVNULL)
        if status != 0:
            os.remove(os.path.join(work, name))
    shutil.rmtree(clone)


def _git(*arguments):
    environment = dict(os.environ, GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND="ssh -oBatchMode=yes", LC_ALL="C")
    try:
        process = subprocess.Popen(
            ("git",) + arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError:
        raise Problem("git is not installed here; take another tophub_source: archive, folder or url")
    try:
        output = process.communicate(timeout=GIT_SECONDS)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its helpers hold the pipe, too
        process.communicate()
        raise Problem("git %s took longer than %d s" % (" ".join(arguments), GIT_SECONDS))
    if process.returncode != 0:
        raise Problem("git %s: %s" % (" ".join(arguments), output.strip()[-300:]))


def _download(url, path):
    """False when the server says that there is no such file. Raises Problem for anything else."""
    try:
        with urllib.request.urlopen(url, timeout=NET_SECONDS) as response, open(path, "wb") as stream:
            left = LARGEST
            while True:
                piece = response.read(65536)
                left -= len(piece)
                if not piece:
                    return True
                if left < 0:
                    raise Problem("%s is larger than %d MB" % (url, LARGEST // 1000000))
                stream.write(piece)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return False
        raise Problem("%s: %s" % (url, error))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Problem("%s: %s" % (url, getattr(error, "reason", None) or error))


def _fault(path, name, sha256):
    if not os.path.isfile(path):
        return "it has no %s" % name
    found = _sha256(path)
    return "" if found == sha256 else "its %s has the SHA-256 %s, not %s" % (name, found, sha256)


def _is(path, sha256):
    return os.path.isfile(path) and _sha256(path) == sha256


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _settle(path, final):
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())
    os.chmod(path, 0o644)
    os.rename(path, final)


def main(arguments):
    """Exit status 0 or 1, and one line of JSON."""
    answer = {"changed": False}
    try:
        answer.update(fetch(json.loads(arguments[0])))
    except Problem as problem:
        answer["problem"] = str(problem)
    except (IOError, OSError) as error:
        answer["problem"] = "%s: %s" % (error.filename, error.strerror)
    print(json.dumps(answer, sort_keys=True))
    return 1 if "problem" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
