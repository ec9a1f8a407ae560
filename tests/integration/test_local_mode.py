"""Measure jobs on the board itself, without RPC: both runtimes, and what may happen to the program meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
from rpc_clients import relay_client
from runtime_release import make_prefix, plain_python
from ssh_servers import Sshd
from worker_process import WorkerProcess, make_job

from tvmops.bench.board import HostBoard
from tvmops.errors import HostUnreachable
from tvmops.inventory import Host
from tvmops.paths import cache_dir, project_root
from tvmops.rpc import BoardRpc
from tvmops.stack import ensure_environment, load_stack

MEASURE = {"warmup": 1, "repeat": 3, "number": 2, "min_repeat_ms": 5, "threads": 1}
ENDLESS = {**MEASURE, "repeat": 1_000_000, "min_repeat_ms": 50}
KEY = "5eed" * 16
RELAY = {"name": "net", "source": {"kind": "generated"}, "task": {"kind": "raw"}}
SECONDS = 60.0
# Loads as TVM's runtime does, and has no graph executor.
BARE = """
#include <stddef.h>
#define NOTHING(name) int name() { return 0; }
NOTHING(TVMFuncFree) NOTHING(TVMFuncCall) NOTHING(TVMFuncCreateFromCFunc) NOTHING(TVMFuncRegisterGlobal)
NOTHING(TVMCFuncSetReturn) NOTHING(TVMModLoadFromFile) NOTHING(TVMModFree) NOTHING(TVMObjectFree)
NOTHING(TVMArrayAlloc) NOTHING(TVMArrayFree) NOTHING(TVMArrayCopyFromBytes) NOTHING(TVMArrayCopyToBytes)
NOTHING(TVMModGetFunction) NOTHING(TVMSynchronize) NOTHING(TVMAPISetLastError)
int TVMFuncGetGlobal(const char *name, void **out) { *out = NULL; return 0; }
const char *TVMGetLastError() { return ""; }
"""


class Place:
    """A board, a job for it, and where its programs' folders are."""

    def __init__(self, host: Host, stack: str, compiled: Path, home: Path) -> None:
        self.host, self.stack, self.compiled = host, stack, compiled
        self.board = self.again()
        self.folder = home / ".cache" / "tvmops" / "local" / KEY
        self.into = home / "into"
        self.into.mkdir(parents=True)

    def again(self) -> HostBoard:
        """The board as another sweep has it."""
        return HostBoard(self.host, BoardRpc(lambda name: load_stack(name).version))

    def job(self, **more: Any) -> dict[str, Any]:
        """A measure job's document."""
        target = {"kind": "llvm"}
        job = {
            "key": KEY,
            "stack": self.stack,
            "workload": RELAY,
            "target": target,
            "measure": MEASURE,
            "mode": "local",
        }
        return {**job, **more}

    def run(self, reference: str = "reference.npz", seconds: float = SECONDS, **more: Any) -> dict[str, Any] | None:
        """Run the job on the board; what is wrong, if anything."""
        files = {"artifact": self.compiled / "model.so", "reference": self.compiled / reference}
        return self.board.run_local(self.job(**more), files, seconds, self.into)

    def fails(self, kind: str, *words: str, **more: Any) -> None:
        """Run the job, which must fail like this and leave nothing."""
        problem = self.run(**more)
        assert problem is not None
        assert problem["error"]["kind"] == kind, problem
        assert all(word in problem["error"]["message"] for word in words), problem
        assert not list(self.into.iterdir())
        until(lambda: not self.programs())
        assert not self.folder.exists()

    def outcome(self) -> dict[str, Any]:
        """What the board measured."""
        found: dict[str, Any] = json.loads((self.into / "outcome.json").read_text())
        return found

    def session(self) -> list[int]:
        """The program's processes, parents first."""
        return processes.tree(int((self.folder / "pid").read_text()))

    def programs(self) -> list[int]:
        """All processes that have to do with the folder."""
        return processes.that(lambda process: any(str(self.folder) in word for word in process.cmdline()))

    def begin(self, **more: Any) -> tuple[threading.Thread, list[Any]]:
        """Run a job that goes on for hours, until it takes samples; the thread, and what becomes of it."""
        ended: list[Any] = []

        def work() -> None:
            try:
                ended.append(self.run(**{"measure": ENDLESS, **more}))
            except HostUnreachable as error:
                ended.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        until(lambda: self.phase() == "measure" or bool(ended))
        assert not ended, ended
        return thread, ended

    def phase(self) -> str | None:
        """The phase that the program is in."""
        try:
            return str(json.loads((self.folder / "status.json").read_text())["phase"])
        except FileNotFoundError:
            return None


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def ended(thread: threading.Thread, found: list[Any]) -> Any:
    """What a job of Place.begin came to."""
    thread.join(SECONDS)
    (one,) = found
    return one


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net compiled by TVM 0.19."""
    folder = tmp_path_factory.mktemp("net")
    relay_client(ensure_environment(load_stack("relay-0.19")), "compiled", folder=folder)
    return folder


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with the lean server, as a built runtime is, of the wheel's library."""
    prefix = tmp_path_factory.mktemp("prefix")
    release = prefix / "releases" / "00112233445566aa"
    shutil.copytree(project_root() / "playbooks" / "files" / "lean", release / "libexec")
    (release / "lib").mkdir()
    python = ensure_environment(load_stack("relay-0.19"))
    (library,) = python.parents[1].glob("lib/python3*/site-packages/tvm/libtvm_runtime.so")
    shutil.copy(library, release / "lib")
    (release / "VERSION").write_text("stack=relay-0.19\ntvm=0.19.0\narch=x86_64\nkey=00112233445566aa\n")
    (prefix / "current").symlink_to("releases/00112233445566aa")
    return prefix


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(cache_dir()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def lean(net: Path, prefix: Path, home: Path) -> Place:
    variables = {"ansible_connection": "local", "tvmops_prefix": str(prefix), "tvmops_unprivileged": True}
    return Place(Host("here", variables), "relay-0.19", net, home)


def judged(place: Place, folder: Path) -> dict[str, Any]:
    """What a worker makes of the board's outcome."""
    worker = WorkerProcess("fake")
    more = {"artifact": str(place.compiled / "model.so"), "reference": str(place.compiled / "reference.npz")}
    settings = {**place.job(), **more, "local": str(place.into)}
    settings = {name: value for name, value in settings.items() if name not in ("key", "workload")}
    try:
        return worker.run(make_job(folder, folder.parent, "measure", RELAY, **settings))
    finally:
        worker.close()


def test_a_graph_runs_without_tvms_python_and_is_judged_like_any_other(lean: Place, tmp_path: Path) -> None:
    assert lean.run() is None
    outcome = lean.outcome()
    assert len(outcome["samples"]) == 3
    assert outcome["runs_per_sample"] >= 2
    assert not lean.folder.exists()
    result = judged(lean, tmp_path / "first")
    assert result["ok"], result
    assert result["samples"] == outcome["samples"]
    assert result["runs_per_sample"] == outcome["runs_per_sample"]
    assert result["first_run_seconds"] == outcome["first_run_seconds"] > 0
    assert set(result["seconds"]) == {"connect", "upload", "load", "first_run", "check", "warmup", "measure"}
    assert result["differences"]["y"]["max_abs"] < 1e-5
    assert result["peak_rss_bytes"] == outcome["peak_rss_bytes"] > 5e6
    assert result["task_check"]["ok"]
    # The worker recounts: an outcome with a sample too few is refused.
    outcome["samples"].pop()
    (lean.into / "outcome.json").write_text(json.dumps(outcome))
    result = judged(lean, tmp_path / "second")
    assert result["error"]["kind"] == "Internal"
    assert "the board took 2 samples" in result["error"]["message"]


def test_what_cannot_be_measured_is_said_in_a_sentence(lean: Place, tmp_path: Path) -> None:
    lean.fails("WrongOutput", "output 'y' differs from the reference", "nothing was timed", reference="wrong.npz")
    lean.fails("Board", "here: ", "finds no device of type 'cl'", target={"kind": "opencl", "host": {"kind": "llvm"}})
    lean.fails("BadInput", "mode local does not profile operators", profile=True)
    lean.fails("Board", "its runtime is TVM 0.19.0", "compiles with TVM 0.27", stack="relax-0.27")
    lean.fails("Timeout", "took longer than 2 s on the board", "phase 'measure'", measure=ENDLESS, seconds=2)
    lean.host.vars["ansible_python_interpreter"] = "/nowhere/python3"
    lean.fails("Board", "ended without an outcome", "/nowhere/python3")
    lean.host.vars["ansible_python_interpreter"] = "python3"
    for prefix in (tmp_path / "empty", tmp_path / "bare"):
        lean.host.vars["tvmops_prefix"] = str(prefix)
        lean.board = lean.again()
        if prefix.name == "empty":
            lean.fails("Board", "there is no TVM runtime on it", "tvmops provision --host here")
            continue
        (prefix / "current" / "lib").mkdir(parents=True)
        (prefix / "current" / "VERSION").write_text("tvm=0.19.0\n")
        (tmp_path / "bare.c").write_text(BARE)
        library = prefix / "current" / "lib" / "libtvm_runtime.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "bare.c"], check=True)
        lean.fails("Board", "built without the graph executor", "USE_GRAPH_EXECUTOR")
        (tmp_path / "other.c").write_text("int other;")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "other.c"], check=True)
        lean.fails("Board", "neither TVM's Python nor the C API", "mode rpc")


@pytest.mark.parametrize("victim", ["model", "all"])
def test_a_program_that_is_killed_in_the_middle_is_a_clear_failure(lean: Place, victim: str) -> None:
    thread, found = lean.begin()
    programs = lean.session()
    assert len(programs) == 4, "a shell, timeout, the program, and its child with the model"
    for pid in programs[-1:] if victim == "model" else programs:
        os.kill(pid, signal.SIGKILL)
    error = ended(thread, found)["error"]
    if victim == "model":
        assert error["kind"] == "Crash"
        assert "here: the model ended by SIGKILL: somebody ended it, or the board's memory was used" in error["message"]
    else:
        assert error["kind"] == "Board"
        assert error["message"] == (
            "here: the program that runs the model ended without an outcome, in the phase 'measure'"
        )
    assert not lean.folder.exists()


def test_a_sweep_that_ends_takes_its_program_with_it(lean: Place) -> None:
    thread, found = lean.begin()
    programs = lean.session()
    lean.board.close()
    assert isinstance(ended(thread, found), HostUnreachable)
    assert processes.gone(*programs)
    assert not lean.folder.exists()


def test_a_lost_connection_is_made_again_and_finds_the_program(
    board: Sshd, net: Path, prefix: Path, tmp_path: Path
) -> None:
    host = board.host(tvmops_prefix=str(prefix), tvmops_unprivileged=True)
    place = Place(host, "relay-0.19", net, tmp_path / "home")
    steady = {**MEASURE, "repeat": 60, "min_repeat_ms": 50}  # 3 s of samples
    thread, found = place.begin(measure=steady)
    programs = place.session()
    for pid in reversed(board.processes()[1:]):
        os.kill(pid, signal.SIGKILL)
    assert isinstance(ended(thread, found), HostUnreachable)
    assert place.session() == programs, "it does not mind"
    place.board.reset()
    assert place.run(measure=steady) is None
    assert len(place.outcome()["samples"]) == 60
    assert not place.folder.exists()
    assert processes.gone(*programs)
    place.board.close()


def test_what_another_sweep_left_is_not_taken_for_this_ones(lean: Place) -> None:
    """It was measured under conditions that nobody noted."""
    thread, found = lean.begin()
    programs = lean.session()
    lean.board = lean.again()
    assert lean.run() is None
    assert processes.gone(*programs)
    assert len(lean.outcome()["samples"]) == 3
    assert "ended without an outcome" in ended(thread, found)["error"]["message"]


def test_relax_runs_by_the_python_of_the_release(home: Path, tmp_path: Path) -> None:
    python = ensure_environment(load_stack("relax-0.27"))
    (tmp_path / "small").mkdir()
    subprocess.run([python, Path(__file__).with_name("relax_small.py"), tmp_path / "small"], check=True, timeout=240)
    prefix = make_prefix(tmp_path / "prefix")
    variables = {"ansible_connection": "local", "ansible_python_interpreter": plain_python()}
    host = Host("here", {**variables, "tvmops_prefix": str(prefix), "tvmops_unprivileged": True})
    place = Place(host, "relax-0.27", tmp_path / "small", home)
    place.fails("Board", "finds no device of type 'cuda'", target={"tag": "nvidia/jetson-nano"})
    assert place.run() is None
    result = judged(place, tmp_path / "judged")
    assert result["ok"], result
    assert result["samples"] == place.outcome()["samples"]
    assert {name: found["max_abs"] < 1e-5 for name, found in result["differences"].items()} == {"y": True, "z": True}
