"""What the build program on a builder is told: its spec, with CMake's arguments and toolchain file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvmops.stack.cmake import quote
from tvmops.stack.spec import Target
from tvmops.stack.toolchain import STATIC_LIBRARIES, Toolchain

MB = 1 << 20

# uname's names in CMake's words.
PROCESSORS = {"armv7l": "armv7l", "aarch64": "aarch64", "x86_64": "x86_64", "i686": "i686"}


@dataclass(frozen=True)
class Sizes:
    """What one build takes, in bytes: memory of a compile job and of a link, disk for sources, objects and results."""

    compile: int
    link: int
    disk: int


SIZES: dict[Target, Sizes] = {
    "runtime": Sizes(compile=600 * MB, link=600 * MB, disk=500 * MB),
    "full": Sizes(compile=1500 * MB, link=4000 * MB, disk=6000 * MB),
}
TARGETS: dict[Target, tuple[str, ...]] = {"runtime": ("tvm_runtime",), "full": ("tvm", "tvm_runtime")}


def build_spec(
    toolchain: Toolchain,
    target: Target,
    *,
    install: Sequence[Mapping[str, Any]],
    targets: Sequence[str] = (),
    archive_sha256: str = "",
    config_sha256: str = "",
    arguments: Mapping[str, str] | None = None,
    build_type: str = "Release",
    config: bool = True,
    most_jobs: int | None = None,
    nice: int = 0,
    hours: float = 24.0,
) -> dict[str, Any]:
    """The variable build_spec of playbooks/build.yml.

    `targets` are those of CMake (by default what `target` needs), `install` the rules by which results are collected
    (playbooks/files/build/collect.py), `config` says that there is a config.cmake.
    """
    sizes = SIZES[target]
    link_flags = list(STATIC_LIBRARIES) if toolchain.static_libstdcxx else []
    return {
        "archive": "source.tar.gz",
        "archive_sha256": archive_sha256,
        "config": "config.cmake" if config else None,
        "config_sha256": config_sha256,
        "toolchain": _tools(toolchain),
        "toolchain_file": toolchain_file(toolchain),
        "arguments": {"CMAKE_BUILD_TYPE": build_type, **(arguments or {})},
        "flags": {"c": list(toolchain.flags), "cxx": list(toolchain.flags), "link": link_flags},
        "targets": list(targets or TARGETS[target]),
        "memory": {"compile": sizes.compile, "link": sizes.link},
        "disk": sizes.disk,
        "most_jobs": most_jobs,
        "nice": nice,
        "hours": hours,
        "install": [dict(rule) for rule in install],
    }


def recipe(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a spec that changes the result, and nothing of where and how fast it is built: for build keys."""
    tools = spec["toolchain"]
    return {
        "arguments": dict(spec["arguments"]),
        "flags": spec["flags"],
        "targets": list(spec["targets"]),
        "install": [dict(rule) for rule in spec["install"]],
        "cross": bool(spec["toolchain_file"]),
        "llvm": tools["llvm"],
    }


def _tools(toolchain: Toolchain) -> dict[str, Any]:
    def path(name: str) -> str:
        tool = getattr(toolchain, name)
        return tool.path if tool is not None else ""

    return {
        "c": toolchain.c,
        "cxx": toolchain.cxx,
        "strip": toolchain.compiler.strip,
        **{name: path(name) for name in ("cmake", "ninja", "make", "ccache")},
        "llvm": toolchain.llvm.version if toolchain.llvm else "",
        "identity": toolchain.identity(),
    }


def toolchain_file(toolchain: Toolchain) -> str:
    """CMAKE_TOOLCHAIN_FILE's text, which CMake's own test programs follow, too; "" where nothing is crossed."""
    if not toolchain.is_cross:
        return ""
    lines = [
        "set(CMAKE_SYSTEM_NAME Linux)",
        f"set(CMAKE_SYSTEM_PROCESSOR {PROCESSORS.get(toolchain.arch, toolchain.arch)})",
        f"set(CMAKE_C_COMPILER {quote(toolchain.c)})",
        f"set(CMAKE_CXX_COMPILER {quote(toolchain.cxx)})",
    ]
    if toolchain.sysroot:
        root = quote(toolchain.sysroot)
        lines += [f"set(CMAKE_SYSROOT {root})", f"set(CMAKE_FIND_ROOT_PATH {root})"]
    # Programs run here; what is linked is the board's.
    lines += ["set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)"]
    if toolchain.sysroot:
        lines += [f"set(CMAKE_FIND_ROOT_PATH_MODE_{kind} ONLY)" for kind in ("LIBRARY", "INCLUDE", "PACKAGE")]
    return "\n".join(lines) + "\n"
