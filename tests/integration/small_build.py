"""A small CMake project, packed, and the build program run on it: for tests of builds that take seconds."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tvmops.paths import project_root
from tvmops.stack.build_spec import build_spec
from tvmops.stack.probing import Probe, probe_here
from tvmops.stack.toolchain import for_arch

PROGRAM = project_root() / "playbooks" / "files" / "builder"
MB = 1 << 20
CMAKE = """
cmake_minimum_required(VERSION 3.10)
project(small C CXX)
if(EXISTS ${CMAKE_BINARY_DIR}/config.cmake)
  include(${CMAKE_BINARY_DIR}/config.cmake)
endif()
file(GLOB SOURCES ${CMAKE_SOURCE_DIR}/parts/*.cc)
add_library(small SHARED ${SOURCES})
target_compile_definitions(small PRIVATE GREETING="${GREETING}")
"""
# Names of files, debug information and the time: all that could tell one build from another.
PART = 'extern "C" const char *part%d() { return GREETING __FILE__ __DATE__ __TIME__; }\n'
FILES = {"CMakeLists.txt": CMAKE, **{f"parts/{n}.cc": PART % n for n in range(4)}}
# A step that says that it has begun, and waits until it may end.
GATE = """
add_custom_command(OUTPUT gate.txt DEPENDS small COMMAND sh ${CMAKE_SOURCE_DIR}/gate.sh)
add_custom_target(gated ALL DEPENDS gate.txt)
"""
GATE_SCRIPT = "touch {0}/begun; while [ ! -e {0}/go ]; do sleep 0.05; done; touch gate.txt\n"


def gated(folder: Path) -> dict[str, str]:
    """The project with a last step that touches `folder`/begun and waits for `folder`/go."""
    return {**FILES, "CMakeLists.txt": CMAKE + GATE, "gate.sh": GATE_SCRIPT.format(folder)}


@cache
def here() -> Probe:
    """What this machine can build with."""
    return probe_here()


def pack(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """An archive of a source tree, the same bytes for the same files."""
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as out, tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in sorted(files.items()):
            data = text if isinstance(text, bytes) else text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def spec(arch: str = "", **changes: Any) -> dict[str, Any]:
    """The spec that tvmops would write for the project, with small needs of memory and disk."""
    chain = for_arch(here(), arch or here().machine)
    rules = [{"file": "build/libsmall.so", "to": "lib/libsmall.so", "strip": True}]
    made = build_spec(chain, "runtime", install=rules, targets=["all"], arguments={"CMAKE_CXX_FLAGS_RELEASE": "-g -O1"})
    return {**made, "memory": {"compile": 10 * MB, "link": 10 * MB}, "disk": 10 * MB, **changes}


def prepare(work: Path, files: Mapping[str, str | bytes] = FILES, config: str | None = None, **changes: Any) -> Path:
    """A work folder as the playbook leaves it; returns the path of its spec."""
    work.mkdir(parents=True, exist_ok=True)
    pack(work / "source.tar.gz", files)
    if config is not None:
        (work / "config.cmake").write_text(config)
    made = spec(**changes)
    if config is None:
        made["config"] = None
    (work / "spec.json").write_text(json.dumps(made))
    return work / "spec.json"


def command(path: Path, python: str = sys.executable) -> list[str]:
    """The command line that builds."""
    return [python, "-I", str(PROGRAM), "build", str(path)]


def environment(folder: Path) -> dict[str, str]:
    """The environment with a compiler cache of its own in `folder`."""
    return {**os.environ, "CCACHE_DIR": str(folder / "ccache")}


def build(path: Path, python: str = sys.executable, cache_in: Path | None = None) -> dict[str, Any]:
    """Build; the result, with `shown` and `stderr`: what was printed."""
    done = subprocess.run(
        command(path, python),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment(cache_in or path.parent),
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    result: dict[str, Any] = json.loads(lines[-1])
    assert done.returncode == (1 if result["outcome"] == "failed" else 0), done.stderr
    return {**result, "shown": lines[:-1], "stderr": done.stderr}
