"""Runs a measure job on the board itself, without RPC: a program there that goes on when the connection is lost."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.bench import job_files
from tvmops.connection import CommandResult, Connection
from tvmops.connection.options import python_interpreter
from tvmops.errors import HostUnreachable, TvmopsError
from tvmops.paths import project_root

SHORT_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between looks; a look takes some of the board's processor
STARTING_SECONDS = 30.0
MARGIN_SECONDS = 30.0  # the board ends the program itself; we wait a little longer
OUTCOME = "outcome.json"
# The files of the program. capi.py is the one that belongs to it: that of the release may be older.
PROGRAMS = (Path("playbooks/files/local"), Path("playbooks/files/lean/capi.py"))
# The device type of a target's kind, as the worker's devices.py has it: every other kind runs on the CPU.
DEVICES = {"opencl": "cl", "cuda": "cuda", "rocm": "rocm", "vulkan": "vulkan", "metal": "metal", "ext_dev": "ext_dev"}
KINDS_BY_TAG = {"nvidia/": "cuda"}
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}  # as the worker's compare.py has it

# Shell scripts; what differs is in variables: k, the job's key; f, its folder; t, the program's token; p, its process.
# The folder is below one that only the login user can enter. Whatever is a day old there was left behind.
PREPARE = """umask 077
for base in "${HOME:-/nonexistent}/.cache/tvmops/local" "/var/tmp/tvmops-$(id -u)/local"; do
  mkdir -p "$base" 2>/dev/null && [ -O "$base" ] && [ -w "$base" ] && break
done
[ -O "$base" ] && [ -w "$base" ] || { echo "neither the home folder nor /var/tmp can be written to" >&2; exit 1; }
chmod 700 "$base"
find "$base" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} + 2>/dev/null
echo "$base/$k"
"""
# The number may be another program's by now; ours has the job's key on its command line.
ALIVE = 'p=$(cat pid 2>/dev/null) && grep -q "$k" "/proc/$p/cmdline" 2>/dev/null'
LOOK = f"""cd "$f" 2>/dev/null && [ "$(cat token 2>/dev/null)" = "$t" ] && [ -d started ] || {{ echo absent; exit; }}
if [ -f {OUTCOME} ]; then echo finished
elif [ ! -f pid ]; then echo starting
elif {ALIVE}; then echo running
elif [ -f {OUTCOME} ]; then echo finished
else echo dead; fi
"""
# The environment is that of the RPC server (templates/tvm.env.j2). The shell stays, as the head of the session: while a
# process becomes another program, it has no command line for a moment.
START = """cd "$f" && mkdir started || exit 1
export PYTHONPATH="$current:$current/python" LD_LIBRARY_PATH="$current/lib" TVM_HOME="$current"
export TVM_USE_RUNTIME_LIB=1 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
setsid sh -c 'echo $$ >pid.new; mv pid.new pid; "$@"; kill -s KILL -- "-$$"' "$f" \
  timeout --foreground -k 5 "$seconds" "$python" -s "$f/local_run.py" "$f" "$current" </dev/null >log.txt 2>&1 &
"""
# The whole session, by its number; -KILL cannot be refused. A process that dies may still have made a file meanwhile.
CLEAR = f"""if cd "$f" 2>/dev/null; then {ALIVE} && kill -s KILL -- "-$p"; cd /; fi
rm -rf "$f" 2>/dev/null || {{ sleep 1; rm -rf "$f"; }}
"""
MAKE = (
    CLEAR
    + """umask 077; mkdir "$f" && printf %s "$t" >"$f/token"
"""
)
END = (
    """[ "$(cat "$f/token" 2>/dev/null)" = "$t" ] || exit 0
"""
    + CLEAR
)
LAST_WORDS = 'cd "$f" && cat status.json; echo; tail -c 800 log.txt'


def _script(text: str, **words: str) -> str:
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in words.items()) + text


@dataclass(frozen=True)
class _Run:
    """One program on the board: a second attempt of the same job knows it by its token."""

    key: str
    folder: str
    token: str

    def script(self, text: str, **more: str) -> str:
        """A script of above with its variables set."""
        return _script(text, k=self.key, f=self.folder, t=self.token, **more)


class LocalRuns:
    """The programs that one board was given, for as long as a sweep lasts."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._runs: dict[str, _Run] = {}

    def run(
        self,
        connection: Connection,
        job: dict[str, Any],
        files: dict[str, Path],
        deadline: float,
        into: Path,
        *,
        check: Callable[[], None],
    ) -> dict[str, Any] | None:
        """None when the outcome and the outputs are in the folder `into`; else a result.json that says what is wrong.

        `files` has "artifact" and "reference"; `deadline` is in seconds; `check` raises HostUnreachable when nobody
        waits any more. Raises HostUnreachable: the program goes on, and the next call with the same job finds it.
        """
        key = str(job["key"])
        begun = self._runs.get(key)
        if begun is None or _look(connection, begun) in ("absent", "dead"):
            started = self._start(connection, job, files, deadline)
            if isinstance(started, str):
                return job_files.failure("Board", f"{connection.host.name}: {started}")
            begun = started
        problem = _await(connection, begun, deadline, check)
        if problem is None:
            problem = _fetch(connection, begun, deadline, into)
        self.end(connection, key)
        return problem

    def end(self, connection: Connection, key: str) -> None:
        """End the job's program, if it still runs, and remove its folder. Never raises."""
        run = self._runs.pop(key, None)
        if run is not None:
            with contextlib.suppress(TvmopsError):  # a board that is gone ends it by itself
                connection.run(run.script(END), timeout=SHORT_SECONDS)

    def running(self) -> list[str]:
        """The keys of jobs that may have a program or a folder on the board."""
        return list(self._runs)

    def _start(
        self, connection: Connection, job: dict[str, Any], files: dict[str, Path], deadline: float
    ) -> _Run | str:
        """Bring the files and start the program; a text that says why it cannot be."""
        key = str(job["key"])
        made = connection.run(_script(PREPARE, k=key), timeout=SHORT_SECONDS)
        folder = made.stdout.strip()
        if made.rc != 0 or not folder.startswith("/"):
            return f"cannot make a folder for the job: {_words(made)}"
        run = _Run(key, folder, secrets.token_hex(8))
        # What an earlier sweep left under this name is another measurement.
        clean = connection.run(run.script(MAKE), timeout=SHORT_SECONDS)
        if clean.rc != 0:
            return f"cannot make the folder {folder}: {_words(clean)}"
        self._runs[key] = run
        begin = time.monotonic()
        for path in _program():
            connection.put(path.read_bytes(), f"{folder}/{path.name}")
        connection.put(files["reference"].read_bytes(), f"{folder}/reference.npz")
        connection.put(files["artifact"].read_bytes(), f"{folder}/model.so")
        document = _document(job, time.monotonic() - begin)
        connection.put(json.dumps(document).encode(), f"{folder}/job.json")
        python = python_interpreter(connection.host) or "python3"
        script = run.script(START, seconds=f"{deadline:.0f}", python=python, current=f"{self._prefix}/current")
        begun = connection.run(script, timeout=SHORT_SECONDS)
        return run if begun.rc == 0 else f"cannot start the program: {_words(begun)}"


def device_of(target: dict[str, Any]) -> str:
    """The device type that runs what is compiled for `target`, as TVM names it: "cpu", "cl", "cuda" and so on."""
    kind = target.get("kind")
    if kind is None:
        tag = str(target.get("tag", ""))
        kind = next((found for prefix, found in KINDS_BY_TAG.items() if tag.startswith(prefix)), "llvm")
    return DEVICES.get(str(kind), "cpu")


def _document(job: dict[str, Any], upload_seconds: float) -> dict[str, Any]:
    """job.json as the program on the board reads it."""
    return {
        "key": job["key"],
        "measure": job["measure"],
        "tolerance": {**TOLERANCE, **(job["workload"].get("tolerance") or {})},
        "device": device_of(job["target"]),
        "upload_seconds": upload_seconds,
    }


def _program() -> list[Path]:
    paths = [project_root() / path for path in PROGRAMS]
    return [found for path in paths for found in ([path] if path.suffix else sorted(path.glob("*.py")))]


def _look(connection: Connection, run: _Run) -> str:
    """absent, starting, running, finished or dead."""
    return connection.run(run.script(LOOK), timeout=SHORT_SECONDS).stdout.strip()


def _await(connection: Connection, run: _Run, deadline: float, check: Callable[[], None]) -> dict[str, Any] | None:
    """Until there is an outcome; a failure when there will be none."""
    begin, pause = time.monotonic(), FIRST_PAUSE
    while (state := _look(connection, run)) != "finished":
        waited = time.monotonic() - begin
        if state in ("absent", "dead") or (state == "starting" and waited > STARTING_SECONDS):
            where = f"{connection.host.name}: the program that runs the model"
            return job_files.failure("Board", f"{where} ended without an outcome{_last_words(connection, run)}")
        if waited > deadline + MARGIN_SECONDS:
            return _overdue(connection, run, deadline)
        time.sleep(pause)
        check()
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return None


def _fetch(connection: Connection, run: _Run, deadline: float, into: Path) -> dict[str, Any] | None:
    """Outcome and outputs into the folder `into`; the failure that the outcome tells of."""
    name = connection.host.name
    outcome = json.loads(connection.get(f"{run.folder}/{OUTCOME}"))
    if not outcome["ok"]:
        error = outcome["error"]
        if error["kind"] == "Timeout":
            return _overdue(connection, run, deadline)
        own = error["kind"] in ("Board", "Crash")
        return job_files.failure(error["kind"], f"{name}: {error['message']}" if own else error["message"])
    job = json.loads(connection.get(f"{run.folder}/job.json"))
    outcome["seconds"]["upload"] = job["upload_seconds"]
    for index in range(outcome["outputs"]):
        (into / f"output_{index}.npy").write_bytes(connection.get(f"{run.folder}/output_{index}.npy"))
    job_files.write_json(into / OUTCOME, outcome)
    return None


def _overdue(connection: Connection, run: _Run, deadline: float) -> dict[str, Any]:
    words = f"took longer than {deadline:.0f} s on the board (timeouts.measure in the sweep file)"
    return job_files.failure("Timeout", words + _last_words(connection, run))


def _last_words(connection: Connection, run: _Run) -> str:
    """How far it came, and the end of its log; empty when that is not known."""
    script = run.script(LAST_WORDS)
    with contextlib.suppress(HostUnreachable, ValueError):
        status, _, log = connection.run(script, timeout=SHORT_SECONDS).stdout.partition("\n")
        phase = f", in the phase '{json.loads(status)['phase']}'" if status else ""
        return phase + (f": {log.strip()}" if log.strip() else "")
    return ""


def _words(done: CommandResult) -> str:
    return done.stderr.strip() or done.stdout.strip() or f"exit status {done.rc}"
