"""What a machine can build with, as its own probe program says."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.connection import Connection
from tvmops.errors import StackError
from tvmops.paths import project_root
from tvmops.stack.spec import version_tuple

PROBE_DEADLINE = 180.0  # seconds: emulated compilers take their time to say their version


@dataclass(frozen=True)
class Tool:
    """A program of the builder."""

    path: str
    version: str


@dataclass(frozen=True)
class Compiler:
    """A C and C++ compiler. `glibc` and `glibcxx` are the versions of the libraries that it links with, or ""."""

    c: str
    cxx: str
    kind: str  # gcc, clang
    version: str
    target: str  # its triple
    package: str  # the first line of its --version: a distribution's patches show there
    strip: str = ""
    glibc: str = ""
    glibcxx: str = ""


@dataclass(frozen=True)
class Llvm:
    """An installed LLVM. `path` is its llvm-config, `static` says whether its static libraries are there."""

    path: str
    version: str
    static: bool
    prefix: str = ""
    targets: tuple[str, ...] = ()

    @property
    def config_value(self) -> str:
        """The value of USE_LLVM: always linked statically, so that another LLVM in the process does no harm."""
        return f"{self.path} --link-static"


@dataclass(frozen=True)
class Probe:
    """What a builder has. Sizes in bytes; `disk` maps folders to what is free there."""

    machine: str
    glibc: str
    glibcxx: str
    cores: int
    memory: Mapping[str, int]
    disk: Mapping[str, int]
    home: str
    root: bool
    compilers: tuple[Compiler, ...]
    tools: Mapping[str, Tool]
    llvm: tuple[Llvm, ...]
    llvm_packages: tuple[str, ...] = ()
    swaps: tuple[Mapping[str, Any], ...] = ()

    def tool(self, name: str) -> Tool | None:
        """cmake, ninja, make or ccache, when it is there."""
        return self.tools.get(name)


def read_probe(text: str, host: str) -> Probe:
    """The Probe in the JSON text that the probe program printed on `host`. Raises StackError."""
    try:
        found = json.loads(text)
        return Probe(
            machine=found["machine"],
            glibc=found["glibc"],
            glibcxx=found["glibcxx"],
            cores=found["cores"],
            memory=found["memory"],
            disk=found["disk"],
            home=found["home"],
            root=found["uid"] == 0,
            compilers=tuple(Compiler(**one) for one in found["compilers"]),
            tools={name: Tool(**one) for name, one in found["tools"].items()},
            llvm=tuple(
                Llvm(one["path"], one["version"], one["static"], one["prefix"], tuple(one["targets"]))
                for one in sorted(found["llvm"], key=lambda one: version_tuple(one["version"]), reverse=True)
            ),
            llvm_packages=tuple(found["llvm_packages"]),
            swaps=tuple(found["swaps"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{host}: what it can build with cannot be read: {error}", f"it said: {text.strip()[-300:] or 'nothing'}"
        ) from error


def probe_program() -> Path:
    """The program that looks around on a builder; complete in itself."""
    return project_root() / "playbooks" / "files" / "builder" / "probe.py"


def probe_here(python: str = "python3") -> Probe:
    """What this machine can build with. Raises StackError."""
    try:
        done = subprocess.run(
            [python, "-I", "-B", str(probe_program())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_DEADLINE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"this machine: looking for compilers failed: {error}", "is python3 installed?") from error
    if done.returncode != 0:
        raise StackError(f"this machine: looking for compilers failed: {done.stderr.decode(errors='replace')[-500:]}")
    return read_probe(done.stdout.decode(errors="replace"), "this machine")


def probe_host(connection: Connection, python: str = "python3") -> Probe:
    """What the host behind `connection` can build with. Nothing is left there. Raises StackError, HostUnreachable."""
    name = connection.host.name
    command = f"{shlex.quote(python)} -I -B -"
    done = connection.run(command, stdin=probe_program().read_bytes(), timeout=PROBE_DEADLINE)
    if done.rc != 0:
        hint = "provision it first: that installs Python" if done.rc == 127 else ""
        raise StackError(f"{name}: looking for compilers failed: {done.stderr.strip()[-500:]}", hint)
    return read_probe(done.stdout, name)
