"""Toolchains: what compiles a stack for an architecture, what of it changes the result, and what it lacks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvmops.errors import StackError
from tvmops.stack.llvm import TOOLCHAIN_PREFIX, llvm_range, llvm_ways
from tvmops.stack.probing import Compiler, Llvm, Probe, Tool
from tvmops.stack.spec import Target, version_tuple
from tvmops.stack.versions import Release

# Debian's names of the compilers for each architecture, as `uname -m` says it.
TRIPLES = {
    "aarch64": "aarch64-linux-gnu",
    "armv7l": "arm-linux-gnueabihf",
    "x86_64": "x86_64-linux-gnu",
    "i686": "i686-linux-gnu",
}
PACKAGES = {
    "aarch64": "g++-aarch64-linux-gnu",
    "armv7l": "g++-arm-linux-gnueabihf",
    "x86_64": "g++-x86-64-linux-gnu",
    "i686": "g++-i686-linux-gnu",
}
STATIC_LIBRARIES = ("-static-libstdc++", "-static-libgcc")


@dataclass(frozen=True)
class Reason:
    """Why a builder cannot build a release: what is wrong, and the way out."""

    text: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.text}: {self.way_out}"


@dataclass(frozen=True)
class Toolchain:
    """What compiles for `arch` on one builder. `sysroot` and the tools' paths are the builder's.

    `llvm_packages` are those of LLVM that its apt knows. `static_libstdcxx`: the result carries the C++ library itself,
    so that an older one on the board does not matter.
    """

    arch: str
    compiler: Compiler
    cmake: Tool | None
    ninja: Tool | None
    make: Tool | None
    ccache: Tool | None
    llvm: Llvm | None = None
    llvm_packages: tuple[str, ...] = ()
    sysroot: str = ""
    sysroot_identity: str = ""
    flags: tuple[str, ...] = ()
    static_libstdcxx: bool = False
    is_cross: bool = False

    @property
    def c(self) -> str:
        """Path of the C compiler."""
        return self.compiler.c

    @property
    def cxx(self) -> str:
        """Path of the C++ compiler."""
        return self.compiler.cxx

    @property
    def version(self) -> str:
        """The compiler's full version."""
        return self.compiler.version

    def identity(self) -> dict[str, Any]:
        """What changes the bytes that come out; not where tools are, nor which CMake and Ninja drive them."""
        return {
            "kind": self.compiler.kind,
            "version": self.compiler.version,
            "package": self.compiler.package.partition(" ")[2],
            "target": self.compiler.target,
            "glibc": self.compiler.glibc,
            "glibcxx": self.compiler.glibcxx,
            "flags": list(self.flags),
            "static_libstdcxx": self.static_libstdcxx,
            "sysroot": self.sysroot_identity,
            "llvm": self.llvm.version if self.llvm else "",
        }

    def with_llvm(self, llvm: Llvm | None) -> Toolchain:
        """The same with this LLVM."""
        return replace(self, llvm=llvm)

    def requirements(self, release: Release, target: Target) -> list[Reason]:
        """What stands against building `release` with it; empty when nothing does."""
        return requirements(self, release, target)


def native(probe: Probe, *, static_libstdcxx: bool = False, flags: Sequence[str] = ()) -> Toolchain:
    """The builder's own compiler. Raises StackError when it has none."""
    return for_arch(probe, probe.machine, static_libstdcxx=static_libstdcxx, flags=flags)


def cross(
    probe: Probe,
    arch: str,
    *,
    sysroot: str | None = None,
    static_libstdcxx: bool = False,
    flags: Sequence[str] = (),
) -> Toolchain:
    """Debian's cross compiler for `arch` on the builder of `probe`.

    `sysroot` is a folder of this machine with the board's headers and libraries. Raises StackError.
    """
    return for_arch(probe, arch, sysroot=sysroot, static_libstdcxx=static_libstdcxx, flags=flags)


def for_arch(
    probe: Probe,
    arch: str,
    *,
    sysroot: str | None = None,
    static_libstdcxx: bool = False,
    flags: Sequence[str] = (),
) -> Toolchain:
    """What compiles for `arch` there: the machine's own compiler where that fits, else a cross compiler."""
    fitting = [one for one in probe.compilers if _compiles_for(one, arch)]
    if not fitting:
        package = "g++" if arch == probe.machine else PACKAGES.get(arch, "")
        raise StackError(
            f"the builder has no C++ compiler for {arch}",
            f"install the package {package} there" if package else f"known architectures: {', '.join(TRIPLES)}",
        )
    compiler = _best(fitting)
    return Toolchain(
        arch=arch,
        compiler=compiler,
        cmake=probe.tool("cmake"),
        ninja=probe.tool("ninja"),
        make=probe.tool("make"),
        ccache=probe.tool("ccache"),
        llvm_packages=probe.llvm_packages,
        sysroot=sysroot or "",
        sysroot_identity=sysroot_identity(Path(sysroot)) if sysroot else "",
        flags=tuple(flags),
        # A compiler beside the system's brings a C++ library that no board has.
        static_libstdcxx=static_libstdcxx or compiler.cxx.startswith(TOOLCHAIN_PREFIX),
        is_cross=arch != probe.machine or bool(sysroot),
    )


def _compiles_for(compiler: Compiler, arch: str) -> bool:
    machine = compiler.target.split("-")[0]
    wanted = TRIPLES.get(arch, arch).split("-")[0]
    if wanted == "arm":
        return machine in ("arm", "armv7l", "armv7") and compiler.target.endswith("gnueabihf")
    return machine == wanted or (wanted == "i686" and machine in ("i386", "i586", "i686"))


def _best(compilers: Sequence[Compiler]) -> Compiler:
    """gcc before clang. The newest g++, be it the system's or one that tvmops has put there, before numbered ones."""
    gcc = [one for one in compilers if one.kind == "gcc"]
    usual = [one for one in gcc if one.cxx.endswith("g++")]
    return max(usual or gcc or compilers, key=lambda one: version_tuple(one.version))


def sysroot_identity(folder: Path) -> str:
    """A hash of what compiling takes from a sysroot: its headers and libraries. Raises StackError."""
    roots = [path for name in ("usr/include", "usr/lib", "lib") if (path := folder / name).is_dir()]
    if not any((path / "stdio.h").exists() for path in (folder / "usr/include", folder / "include")):
        raise StackError(
            f"{folder} is no sysroot: it has no usr/include/stdio.h",
            "copy /usr/include, /usr/lib and /lib of a board with its development packages there",
        )
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted(_linked_files(root)):
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _linked_files(root: Path) -> list[Path]:
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            used = "include" in path.parts or name.endswith((".o", ".a", ".so")) or ".so." in name
            if used and path.is_file() and not path.is_symlink():
                found.append(path)
    return found


def requirements(toolchain: Toolchain, release: Release, target: Target) -> list[Reason]:
    """What stands against building `release` with these tools, each with a way out; empty when nothing does."""
    reasons = [*_compiler_reasons(toolchain, release), *_cmake_reasons(toolchain, release, target)]
    if not (toolchain.ninja or toolchain.make):
        reasons.append(Reason("the builder has neither Ninja nor make", "install ninja-build"))
    if target == "full":
        reasons += _llvm_reasons(toolchain.llvm, release, llvm_ways(release, toolchain.llvm_packages))
    return reasons


def _compiler_reasons(toolchain: Toolchain, release: Release) -> list[Reason]:
    compiler = toolchain.compiler
    if compiler.kind != "gcc" or version_tuple(compiler.version) >= version_tuple(release.gcc_min):
        return []
    needs = f"TVM {release.tag} (C++{release.cxx_standard}) needs gcc {release.gcc_min}"
    beside = f"playbooks/toolchain.yml puts a newer one beside it, in {TOOLCHAIN_PREFIX} (toolchain: [gcc-9.5.0])"
    return [Reason(f"{compiler.cxx} is {compiler.version}; {needs}", f"{beside}, or build with the builder 'cross'")]


def _cmake_reasons(toolchain: Toolchain, release: Release, target: Target) -> list[Reason]:
    needed = release.cmake_for(target)
    way = f"playbooks/toolchain.yml puts one beside it, in {TOOLCHAIN_PREFIX} (toolchain: [cmake-3.31.10])"
    if toolchain.cmake is None:
        return [Reason("the builder has no CMake", way)]
    if version_tuple(toolchain.cmake.version) >= version_tuple(needed):
        return []
    text = f"{toolchain.cmake.path} is {toolchain.cmake.version}; TVM {release.tag} really needs {needed}"
    return [Reason(text, way)]


def _llvm_reasons(llvm: Llvm | None, release: Release, ways: str) -> list[Reason]:
    if llvm is None:
        return [Reason(f"the builder has no LLVM {llvm_range(release)} with static libraries", f"install {ways}")]
    if why := release.llvm_problem(llvm.version):
        return [Reason(f"{llvm.path}: {why}", f"install {ways}")]
    if not llvm.static:
        return [Reason(f"{llvm.path} has no static libraries", f"install llvm-{llvm.version.split('.')[0]}-dev")]
    return []
