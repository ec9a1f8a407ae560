"""Toolchains: what is chosen of what a builder has, what of it names a build, what is too old."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builder_probes import FOUND, compiler, llvm, probe

from tvmops.errors import StackError
from tvmops.stack.build_spec import build_spec, recipe, toolchain_file
from tvmops.stack.llvm import choose_llvm, llvm_packages
from tvmops.stack.probing import Llvm, Probe, Tool, probe_here, read_probe
from tvmops.stack.toolchain import Toolchain, cross, for_arch, native, sysroot_identity
from tvmops.stack.versions import Release, release


def v(tag: str, **changes: Any) -> Release:
    return replace(release(tag), **changes)


@pytest.mark.parametrize(
    ("arch", "cxx", "crossed"),
    [
        ("x86_64", "/usr/bin/g++", False),
        ("aarch64", "/usr/bin/aarch64-linux-gnu-g++", True),
        ("armv7l", "/usr/bin/arm-linux-gnueabihf-g++", True),
    ],
)
def test_the_compiler_of_an_architecture(arch: str, cxx: str, crossed: bool) -> None:
    chain = for_arch(probe(), arch)
    assert (chain.cxx, chain.is_cross) == (cxx, crossed)
    assert chain.c == cxx.replace("g++", "gcc")


def test_soft_float_compilers_are_not_taken_for_armhf() -> None:
    with pytest.raises(StackError, match="no C\\+\\+ compiler for armv7l") as failed:
        cross(probe(compilers=[compiler("/usr/bin/arm-linux-gnueabi-g++", "arm-linux-gnueabi")]), "armv7l")
    assert "g++-arm-linux-gnueabihf" in failed.value.hint


def test_the_newest_compiler_is_taken_be_it_the_system_s_or_our_own() -> None:
    prefix = "/opt/tvmops/toolchain/gcc"
    own = [compiler(f"{prefix}-{one}/bin/g++", "x86_64-linux-gnu", one) for one in ("9.5.0", "13.1.0")]
    assert native(probe(compilers=[*FOUND["compilers"], *own])).cxx == f"{prefix}-13.1.0/bin/g++"
    assert native(probe(compilers=[*FOUND["compilers"], own[0]])).cxx == "/usr/bin/g++"
    old = compiler("/usr/bin/g++", "x86_64-linux-gnu", "7.5.0")
    chosen = native(probe(compilers=[old, own[0]]))
    # Its C++ library is not the system's, so the result carries it.
    assert (chosen.version, chosen.static_libstdcxx) == ("9.5.0", True)


def test_without_gcc_another_compiler_is_taken() -> None:
    only = [one for one in FOUND["compilers"] if one["kind"] == "clang"]
    assert native(probe(compilers=only)).cxx == "/usr/bin/clang++-14"


def test_what_changes_no_byte_is_not_in_the_identity() -> None:
    chain = native(probe())
    same = [
        replace(chain, cmake=Tool("/x/cmake", "3.30"), ninja=None, ccache=Tool("/c", "4")),
        native(probe(compilers=[compiler("/opt/bin/g++", "x86_64-linux-gnu")])),
        native(probe(machine="x86_64", cores=1)),
    ]
    other: list[Toolchain] = [
        native(probe(compilers=[compiler("/usr/bin/g++", "x86_64-linux-gnu", "12.2.1")])),
        native(probe(), flags=["-mcpu=x"]),
        native(probe(), static_libstdcxx=True),
        for_arch(probe(), "aarch64"),
        chain.with_llvm(probe().llvm[0]),
        replace(chain, sysroot_identity="1"),
        replace(chain, compiler=replace(chain.compiler, glibc="2.31")),
    ]
    assert all(one.identity() == chain.identity() for one in same)
    identities = [json.dumps(one.identity(), sort_keys=True) for one in [chain, *other]]
    assert len(set(identities)) == len(identities)


def test_a_sysroot_is_named_by_what_is_linked_from_it(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="is no sysroot"):
        sysroot_identity(tmp_path)
    for name in ("usr/include/stdio.h", "usr/lib/arm/libc.so.6", "usr/lib/arm/crt1.o", "usr/lib/python3/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    first = sysroot_identity(tmp_path)
    (tmp_path / "usr/lib/python3/x.py").write_text("other")
    assert sysroot_identity(tmp_path) == first
    (tmp_path / "usr/lib/arm/libc.so.6").write_text("other")
    assert sysroot_identity(tmp_path) != first


def test_a_sysroot_is_told_to_cmake_in_whole() -> None:
    text = toolchain_file(replace(for_arch(probe(), "aarch64"), sysroot="/roots/nano"))
    assert "set(CMAKE_SYSTEM_PROCESSOR aarch64)" in text
    assert "set(CMAKE_SYSROOT /roots/nano)" in text
    spaced = toolchain_file(replace(for_arch(probe(), "aarch64"), sysroot="/my roots/nano"))
    assert 'set(CMAKE_SYSROOT "/my roots/nano")' in spaced
    assert "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)" in text
    assert "set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)" in text
    assert toolchain_file(native(probe())) == ""


def test_the_newest_llvm_in_range_with_static_libraries() -> None:
    def chosen(found: Probe, tag: str) -> Llvm:
        one = choose_llvm(found, release(tag))
        assert one is not None
        return one

    assert chosen(probe(), "v0.26.0").config_value == "/usr/bin/llvm-config-22 --link-static"
    assert chosen(probe(), "v0.19.0").version == "14.0.6"
    assert chosen(probe(llvm=[llvm("14.0.6", static=False), llvm("13.0.1")]), "v0.19.0").version == "13.0.1"
    assert choose_llvm(probe(llvm=[llvm("12.0.0")]), release("v0.19.0")) is None
    assert llvm_packages(probe().llvm_packages, release("v0.12.0")) == ["llvm-13-dev", "llvm-9-dev"]


def test_a_builder_that_fits_has_nothing_against_it() -> None:
    chain = native(probe()).with_llvm(choose_llvm(probe(), release("v0.19.0")))
    assert chain.requirements(release("v0.19.0"), "full") == []


def test_everything_that_is_too_old_is_said_with_a_way_out() -> None:
    nano = [compiler("/usr/bin/g++", "aarch64-linux-gnu", "7.5.0")]
    tools = {"cmake": {"path": "/usr/bin/cmake", "version": "3.10.2"}}
    chain = native(probe(machine="aarch64", compilers=nano, tools=tools, llvm=[]))
    reasons = [str(one) for one in chain.requirements(v("v0.26.0"), "full")]
    assert len(reasons) == 4
    assert "/usr/bin/g++ is 7.5.0; TVM v0.26.0 (C++20) needs gcc 10" in reasons[0]
    assert "/opt/tvmops/toolchain" in reasons[0] and "builder 'cross'" in reasons[0]
    assert "/usr/bin/cmake is 3.10.2; TVM v0.26.0 really needs" in reasons[1]
    assert "toolchain: [cmake-3.31.10]" in reasons[1]
    assert "neither Ninja nor make" in reasons[2]
    assert "no LLVM 15 to 22" in reasons[3]
    assert "install the package llvm-22-dev; or with playbooks/toolchain.yml a prebuilt archive" in reasons[3]
    assert chain.requirements(v("v0.8.0"), "runtime")[0].text == "the builder has neither Ninja nor make"


def test_an_llvm_that_does_not_fit_is_named() -> None:
    chain = native(probe()).with_llvm(Llvm("/usr/bin/llvm-config-15", "15.0.7", True))
    [reason] = chain.requirements(release("v0.8.0"), "full")
    assert "llvm-config-15: LLVM 15.0.7 is newer than v0.8.0 knows" in reason.text
    dynamic = native(probe()).with_llvm(Llvm("/usr/bin/llvm-config-14", "14.0.6", False))
    [reason] = dynamic.requirements(release("v0.8.0"), "full")
    assert (reason.text, reason.way_out) == ("/usr/bin/llvm-config-14 has no static libraries", "install llvm-14-dev")


def test_a_recipe_says_what_changes_the_result_only() -> None:
    rules = [{"file": "build/x.so", "to": "lib/x.so"}]
    one = build_spec(native(probe()), "runtime", install=rules, most_jobs=1, nice=5)
    elsewhere = native(
        probe(tools={"cmake": {"path": "/o/cmake", "version": "3.30"}, "make": {"path": "/m", "version": "4"}})
    )
    assert recipe(one) == recipe(build_spec(elsewhere, "runtime", install=rules))
    for other in (
        build_spec(native(probe()), "runtime", install=rules, build_type="Debug"),
        build_spec(native(probe()), "runtime", install=rules, targets=["tvm_rpc"]),
        build_spec(native(probe(), flags=["-g"]), "runtime", install=rules),
    ):
        assert recipe(other) != recipe(one)


def test_a_probe_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(StackError, match="b1: what it can build with cannot be read") as failed:
        read_probe("Killed", "b1")
    assert "it said: Killed" in failed.value.hint
    with pytest.raises(StackError, match="cannot be read"):
        read_probe("{}", "b1")


def test_this_machine_says_what_it_can_build_with() -> None:
    found = probe_here()
    assert found.cores > 0 and found.memory["total"] > found.memory["available"] > 0
    assert found.compilers and all(Path(one.cxx).exists() for one in found.compilers)
    chain = native(found)
    assert chain.version[0].isdigit() and chain.compiler.glibc.startswith("2.")
