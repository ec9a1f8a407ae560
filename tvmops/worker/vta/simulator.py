"""VTA's functional simulator: a library, compiled once per content of its sources and kept in the cache."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

from ..failures import JobError
from .tree import Sources, identity, simulator_sources

LIBRARY = "libvta_fsim.so"
COMPILE_SECONDS = 600
# USE_FSIM_TLPP simulates the queues between load, compute and store, as TVM's own build of the simulator does.
FLAGS = (
    "-O2",
    "-std=c++17",
    "-fPIC",
    "-shared",
    "-w",
    "-DDMLC_USE_LOGGING_LIBRARY=<tvm/runtime/logging.h>",
    "-DUSE_FSIM_TLPP",
)
# A header of each library that is included, and where TVM's package or source tree keeps it.
HEADERS = {
    "tvm/runtime/registry.h": "include",
    "dlpack/dlpack.h": "3rdparty/dlpack/include",
    "dmlc/thread_local.h": "3rdparty/dmlc-core/include",
}


def library(sources: Sources, config: Dict[str, Any], package: Path, cache_dir: Path) -> Path:
    """The simulator for `config`; `package` is the folder of the TVM that loads it.

    Raises JobError: BadInput (no compiler, headers missing), Compile.
    """
    includes = include_folders(package, sources.tree)
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(shlex.split(compiler)[0]) is None:
        raise JobError(
            "BadInput", f"VTA's simulator is compiled here, but there is no {compiler}; install it or set CXX"
        )
    folder = cache_dir / "vta" / cache_key(sources, config, includes, compiler)[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        if not (folder / LIBRARY).is_file():
            _compile(sources, config, includes, compiler, folder)
    return folder / LIBRARY


def include_folders(package: Path, tree: Path) -> List[Path]:
    """Where the C++ headers are: of the TVM that loads the library first, since its classes are what must fit."""
    found = []
    for header, place in HEADERS.items():
        candidates = [root / place for root in (package, package.parent.parent, tree)]
        having = [folder for folder in candidates if (folder / header).is_file()]
        if not having:
            places = ", ".join(str(folder) for folder in candidates)
            raise JobError("BadInput", f"VTA's simulator needs the header {header}, which is in none of: {places}")
        found.append(having[0])
    return found


def cache_key(sources: Sources, config: Dict[str, Any], includes: List[Path], compiler: str) -> str:
    """sha256 over all that decides what the library does."""
    digest = hashlib.sha256(identity(sources).encode())
    digest.update(json.dumps([config, FLAGS, compiler, _version(compiler)], sort_keys=True).encode())
    for header in sorted((includes[0] / "tvm" / "runtime").rglob("*.h")):
        digest.update(header.read_bytes())
    return digest.hexdigest()


def _version(compiler: str) -> str:
    command = [*shlex.split(compiler), "--version"]
    try:
        shown = subprocess.run(command, check=False, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError("BadInput", f"the C++ compiler {compiler} cannot be run: {error}") from error
    return shown.stdout.decode("utf-8", "replace").split("\n")[0]


def _compile(sources: Sources, config: Dict[str, Any], includes: List[Path], compiler: str, folder: Path) -> None:
    part = folder / f".{LIBRARY}.{os.getpid()}"
    command = [*shlex.split(compiler), *FLAGS]
    command += [f"-I{path}" for path in (*includes, sources.hardware / "include")]
    command += _definitions(sources, config, folder)
    command += [str(path) for path in simulator_sources(sources)]
    _run([*command, "-o", str(part)], folder / "compile.log", "VTA's simulator does not compile")
    part.replace(folder / LIBRARY)


def _definitions(sources: Sources, config: Dict[str, Any], folder: Path) -> List[str]:
    """The geometry as macros, by VTA's own program: the one that TVM's build asks."""
    configuration = folder / "config.json"
    configuration.write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    program = sources.hardware / "config" / "vta_config.py"
    command = [sys.executable, str(program), f"--use-cfg={configuration}", "--defs"]
    text = _run(command, folder / "config.log", "VTA's configuration is not accepted by its own vta_config.py")
    return [word for word in text.split() if word.startswith("-D")]


def _run(command: List[str], log: Path, failing: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VTA_HW_PATH")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the trees are the user's
    try:
        done = subprocess.run(
            command,
            check=False,
            env=environment,
            timeout=COMPILE_SECONDS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired:
        raise JobError("Compile", f"{failing} within {COMPILE_SECONDS} s") from None
    text = done.stdout.decode("utf-8", "replace")
    log.write_text(" ".join(map(shlex.quote, command)) + "\n" + text, encoding="utf-8")
    if done.returncode:
        errors = [line for line in text.splitlines() if "error" in line.lower()] or text.splitlines()[-1:]
        raise JobError("Compile", f"{failing}: {errors[0].strip() if errors else done.returncode}; all of it: {log}")
    return text


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two workers that want the same simulator compile it once."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


_loaded: Dict[str, Any] = {}


def load(sources: Sources, config: Dict[str, Any], package: Path, cache_dir: Path) -> Path:
    """Loads the simulator into this process, where compiled code calls it. Raises JobError (BadInput, Compile)."""
    path = library(sources, config, package, cache_dir)
    if _loaded and str(path) not in _loaded:
        raise JobError(
            "BadInput",
            f"this worker has loaded VTA's simulator {next(iter(_loaded))} and cannot load {path} beside it; "
            "run different VTA configurations in sweeps of their own (--limit)",
        )
    if not _loaded:
        try:
            _loaded[str(path)] = ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise JobError("Compile", f"VTA's simulator cannot be loaded: {error}; remove {path.parent}") from error
    return path
