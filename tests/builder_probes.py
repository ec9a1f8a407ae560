"""What a builder says it can build with: a probe's answer, for tests of what is chosen from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tvmops.stack.probing import Probe, read_probe


def compiler(cxx: str, target: str, version: str = "12.2.0", kind: str = "gcc") -> dict[str, str]:
    c = cxx.replace("clang++", "clang").replace("g++", "gcc")
    package = f"{Path(cxx).name} (Debian {version}-14) {version}"
    return {
        "cxx": cxx, "c": c, "kind": kind, "version": version, "target": target, "package": package,
        "strip": f"/usr/bin/{target}-strip", "glibc": "2.36", "glibcxx": "3.4.30",
    }  # fmt: skip


def llvm(version: str, static: bool = True) -> dict[str, Any]:
    major = version.split(".")[0]
    path = f"/usr/bin/llvm-config-{major}"
    return {"path": path, "version": version, "static": static, "prefix": "/usr/lib/llvm", "targets": ["X86"]}


FOUND: dict[str, Any] = {
    "machine": "x86_64", "glibc": "2.36", "glibcxx": "3.4.30", "cores": 4, "memory": {}, "disk": {}, "home": "/root",
    "uid": 0, "swaps": [],
    "compilers": [
        compiler("/usr/bin/aarch64-linux-gnu-g++", "aarch64-linux-gnu"),
        compiler("/usr/bin/arm-linux-gnueabihf-g++", "arm-linux-gnueabihf"),
        compiler("/usr/bin/clang++-14", "x86_64-pc-linux-gnu", "14.0.6", "clang"),
        compiler("/usr/bin/g++-11", "x86_64-linux-gnu", "11.3.0"),
        compiler("/usr/bin/g++", "x86_64-linux-gnu"),
    ],
    "tools": {"cmake": {"path": "/usr/bin/cmake", "version": "3.25.1"},
              "ninja": {"path": "/usr/bin/ninja", "version": "1.11.1"}},
    "llvm": [llvm("14.0.6"), llvm("9.0.1"), llvm("22.1.8")],
    "llvm_packages": ["llvm-9-dev", "llvm-13-dev", "llvm-22-dev", "llvm-3.9-dev"],
}  # fmt: skip


def probe(**changes: Any) -> Probe:
    return read_probe(json.dumps({**FOUND, **changes}), "builder")
