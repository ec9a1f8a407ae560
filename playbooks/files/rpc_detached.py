"""TVM's RPC server on a board without root and systemd: one process group, known by a file with its number.

    python3 rpc_detached.py start PREFIX PORT [KEY]   stops what is left of an earlier one first
    python3 rpc_detached.py stop PREFIX

Standard library only, Python 3.5 or newer.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 2.0
# What the command lines of RPC servers have in common: TVM's own, the lean one, TVM's in C++.
SERVERS = ("tvm.exec.", "/libexec/rpc_server.py\0", "/bin/tvm_rpc\0server\0")


def main(arguments):
    """Exit status 0, or 1 and a line on stderr."""
    action, prefix = arguments[0], os.path.abspath(arguments[1])
    run = os.path.join(prefix, "run")
    if action == "stop":
        stop(run)
        return 0
    if action == "start":
        return start(prefix, run, int(arguments[2]), arguments[3] if len(arguments) > 3 else "")
    sys.stderr.write(__doc__)
    return 2


def start(prefix, run, port, key):
    """Start the server in a session of its own, so that it outlives this connection."""
    release = os.path.join(prefix, "current")
    if not os.path.exists(os.path.join(release, "VERSION")):
        sys.stderr.write("there is no release in %s\n" % release)
        return 1
    stop(run)
    scratch = os.path.join(run, "tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch, 0o700)
    os.chmod(run, 0o700)
    environment = dict(os.environ, PYTHONPATH=release, PYTHONNOUSERSITE="1", TVM_USE_RUNTIME_LIB="1", TMPDIR=scratch)
    environment.update(settings(os.path.join(prefix, "tvm.env")))
    argv = command(release, port)
    if key:
        argv.append("--key=" + key)
    if argv[0] != sys.executable:
        environment["LD_LIBRARY_PATH"] = os.path.join(release, "lib")
    with open(os.path.join(run, "server.log"), "wb") as log:
        process = subprocess.Popen(
            argv, cwd=run, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    with open(os.path.join(run, "server.pid"), "w") as pidfile:
        pidfile.write("%d\n" % process.pid)
    return 0


def settings(path):
    """The environment that provisioning has set for TVM; empty when it has not."""
    pairs = [line.partition("=") for line in _read(path).splitlines() if not line.startswith("#")]
    return {name: value for name, equals, value in pairs if equals}


def command(release, port):
    """The command line of the server that this release carries."""
    with open(os.path.join(release, "manifest.json"), "rb") as stream:
        server = json.loads(stream.read().decode("utf-8")).get("server") or "python"
    if server == "lean":
        library = os.path.join(release, "lib", "libtvm_runtime.so")
        program = os.path.join(release, "libexec", "rpc_server.py")
        return [sys.executable, "-I", program, "--lib=" + library, "--host=127.0.0.1", "--port=%d" % port]
    # --port-end is exclusive: with one port to choose from, the server cannot drift to another.
    ports = ["--port=%d" % port, "--port-end=%d" % (port + 1)]
    if server == "cpp":
        return [os.path.join(release, "bin", "tvm_rpc"), "server", "--host=127.0.0.1"] + ports
    return [sys.executable, "-m", "tvm.exec.rpc_server", "--host=127.0.0.1"] + ports


def stop(run):
    """End the whole group: the server's worker process would go on serving without its parent."""
    pidfile = os.path.join(run, "server.pid")
    try:
        with open(pidfile) as stream:
            group = int(stream.read())
    except (OSError, ValueError):
        return
    for sign, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        end = time.monotonic() + seconds
        while members(group) and time.monotonic() < end:
            try:
                os.killpg(group, sign)
            except OSError:
                break
            time.sleep(0.05)
    os.unlink(pidfile)


def members(group):
    """The group's living processes, if they are TVM's: after a reboot the number may be another program's."""
    found = []
    for folder in glob.glob("/proc/[0-9]*"):
        fields = _read(folder + "/stat").rpartition(")")[2].split()
        if len(fields) > 2 and fields[0] != "Z" and int(fields[2]) == group:
            command_line = _read(folder + "/cmdline")
            tvm = any(words in command_line for words in SERVERS)
            found.append((int(os.path.basename(folder)), tvm))
    return [pid for pid, _ in found] if any(tvm for _, tvm in found) else []


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
