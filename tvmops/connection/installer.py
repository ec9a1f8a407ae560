"""The text of a small program that a board's Python runs when it does not have the agent yet.

It reads the agent's zip archive from its standard input, checks it, unpacks it and becomes the agent, still on the
same standard streams: no second connection, and no second sudo. Plain text, because nothing else is there to run it.
"""

from __future__ import annotations

import shlex

# Any Python must be able to read this much, to say that it is too old.
PROGRAM = r"""
import sys
def say(text):
    sys.stdout.write("tvmops:" + text + "\n")
    sys.stdout.flush()
if sys.version_info < (3, 5):
    say("old-python %d.%d" % sys.version_info[:2])
    sys.exit(0)
try:
    import base64, collections, configparser, contextlib, datetime, errno, fcntl, fnmatch, glob, grp, hashlib, importlib
    import io, json, os, pwd, re, selectors, shutil, signal, socket, stat, struct, subprocess, tempfile, threading, time
    import zipfile, zlib
except ImportError as error:
    say("no-module %s" % error)
    sys.exit(0)
def command_lines():
    found = b""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as source:
                found += source.read()
        except OSError:
            pass
    return found
digest, size = sys.argv[1], int(sys.argv[2])
say("need-agent")
data = b""
while len(data) < size:
    piece = os.read(0, min(size - len(data), 65536))
    if not piece:
        sys.exit(1)
    data += piece
if hashlib.sha256(data).hexdigest() != digest:
    say("damaged")
    sys.exit(0)
problems = []
for folder in sys.argv[3:]:
    target = os.path.join(folder, "agent-" + digest)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        if os.lstat(folder).st_uid != os.geteuid() or os.path.islink(folder):
            problems.append(folder + " belongs to someone else")
            continue
        os.chmod(folder, 0o700)
        for name in os.listdir(folder):
            old = os.path.join(folder, name)
            # The board's clock may have jumped: no agent that still runs is removed.
            if name.startswith(("agent-", ".new-")) and time.time() - os.lstat(old).st_mtime > 30 * 86400:
                if name.encode() not in command_lines():
                    shutil.rmtree(old, ignore_errors=True)
        new = tempfile.mkdtemp(prefix=".new-", dir=folder)
        archive = zipfile.ZipFile(io.BytesIO(data))
        for name in archive.namelist():
            # On the disk before the directory has its final name: a power cut must not leave half an agent.
            descriptor = os.open(archive.extract(name, new), os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        try:
            os.rename(new, target)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            if not os.path.isdir(target):
                raise
    except OSError as error:
        problems.append("%s: %s" % (folder, error.strerror))
        continue
    os.execv(sys.executable, [sys.executable, "-I", "-S", target])
say("no-place " + "; ".join(problems))
"""


def launch_script(digest: str, size: int, interpreter: str | None) -> str:
    """A shell script that becomes the agent when it is there, else the program above, else names what is missing.

    The agent lives in the cache of the user it runs as, in a folder only he can write to: a root agent never runs code
    that another user could have changed. /var/tmp is for users whose home cannot be written to.
    """
    candidates = [interpreter] if interpreter else ["python3", "/usr/bin/python3", "/usr/local/bin/python3"]
    look_for = " ".join(shlex.quote(candidate) for candidate in candidates)
    return (
        f'p=; for c in {look_for}; do p=$(command -v "$c" 2>/dev/null) && break; done; '
        '[ -n "$p" ] || { echo tvmops:need-python; exit 0; }; '
        'h="${HOME:-/nonexistent}/.cache/tvmops"; '
        f'a="$h/agent-{digest}"; [ -O "$h" ] && [ -O "$a/__main__.py" ] && exec "$p" -I -S "$a"; '
        f't="/var/tmp/tvmops-$(id -u)"; '
        f'a="$t/agent-{digest}"; [ -O "$t" ] && [ -O "$a/__main__.py" ] && exec "$p" -I -S "$a"; '
        f'exec "$p" -I -S -c {shlex.quote(PROGRAM)} {digest} {size} "$h" "$t"'
    )
