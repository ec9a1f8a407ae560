"""What came out of a builder: checked against what was asked for, described, packed to the same bytes."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_elf import arm_attributes, make_elf

from tvmops.errors import StackError
from tvmops.stack import load_stack
from tvmops.stack.artifact import Artifact, manifest_key, read_archive
from tvmops.stack.build_order import BuildOrder, install_rules
from tvmops.stack.built_artifact import ENTRY_POINTS, pack_result
from tvmops.stack.config import Config
from tvmops.stack.evidence import disagreements, third_parties
from tvmops.stack.probing import Compiler, Tool
from tvmops.stack.sources import SourceTree
from tvmops.stack.toolchain import Toolchain

NEEDS = {
    "libc.so.6": {"memcpy": "GLIBC_2.4", "dlclose": "GLIBC_2.34"},
    "libstdc++.so.6": {"_ZSt4cout": "GLIBCXX_3.4.30"},
}
GCC = Compiler(
    c="/usr/bin/arm-linux-gnueabihf-gcc",
    cxx="/usr/bin/arm-linux-gnueabihf-g++",
    kind="gcc",
    version="12.2.0",
    target="arm-linux-gnueabihf",
    package="arm-linux-gnueabihf-g++ (Debian 12.2.0-14) 12.2.0",
    strip="/usr/bin/arm-linux-gnueabihf-strip",
    glibc="2.36",
    glibcxx="3.4.30",
)
TOOL = Tool("/usr/bin/cmake", "3.25.1")


def library(**changes: Any) -> bytes:
    given = {"defined": tuple(sorted(ENTRY_POINTS)), "attributes": arm_attributes(t6=10, t10=4, t28=1), **changes}
    return make_elf(NEEDS, **given)


def commands(**options: str) -> bytes:
    defined = {"USE_RPC": "ON", "USE_SORT": "ON", "USE_LLVM": "OFF", "LLVM_VERSION": "NOT-FOUND", **options}
    flags = " ".join(f'-DTVM_INFO_{name}=\\"{value}\\"' for name, value in defined.items())
    folders = ("picojson", "libcrc/include", "dlpack/include", "rang/include")
    parties = " ".join(f"-isystem /w/src/3rdparty/{folder}" for folder in folders)
    return json.dumps(
        [
            {"file": "/w/src/src/runtime/rpc/rpc_session.cc", "command": f"g++ {parties} -c x.cc"},
            {"file": "/w/src/src/relay/op.cc", "command": "g++ -I/w/src/3rdparty/cutlass/include -c x.cc"},
            {"file": "/w/src/src/support/libinfo.cc", "command": f"g++ {flags} {parties} -c libinfo.cc"},
        ]
    ).encode()


@pytest.fixture
def order(tmp_path: Path) -> BuildOrder:
    folder = tmp_path / "tree"
    folder.mkdir()
    (tmp_path / "source.tar.gz").write_bytes(b"packed sources")
    source = SourceTree("archive", folder, tmp_path / "source.tar.gz", "ab" * 32)
    options = {"USE_RPC": "ON", "USE_SORT": "ON", "USE_LLVM": "OFF"}
    text = "".join(f"set({name} {value})\n" for name, value in options.items())
    toolchain = Toolchain("armv7l", GCC, TOOL, TOOL, None, None, is_cross=True, flags=("-mfpu=neon",))
    return BuildOrder(load_stack("relay-0.19"), "runtime", "Release", source, Config(text, options), toolchain)


FILES = {
    "lib/libtvm_runtime.so": (0o755, library()),
    "evidence/compile_commands.json": (0o644, commands()),
    "evidence/headers/picojson/picojson.h": (0o644, b"/*\n * Copyright: all rights\n */\n#include <x>\n/* y */\n"),
    "evidence/headers/libcrc/include/checksum.h": (0o644, b"// What it does\n#include <x>\n"),
    "licences/3rdparty/dlpack/LICENSE": (0o644, b"dlpack's"),
    "licences/3rdparty/cutlass/LICENSE.txt": (0o644, b"cutlass's"),
    "licences/tvm/licenses/LICENSE.rang.txt": (0o644, b"rang's"),
    "licences/tvm/licenses/LICENSE.vllm.txt": (0o644, b"vllm's"),
}


@pytest.fixture
def result(tmp_path: Path) -> Callable[..., Path]:
    """What a builder sends; keywords replace files (None: left out), by their last name without its ending."""

    def make(mtime: int = 7, **changes: bytes | None) -> Path:
        path = tmp_path / "out.tar.gz"
        with gzip.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            for name, (mode, content) in FILES.items():
                data = changes.get(Path(name).stem, content)
                if data is None:
                    continue
                member = tarfile.TarInfo(name)
                member.size, member.mode, member.mtime = len(data), mode, mtime
                tar.addfile(member, io.BytesIO(data))
        return path

    return make


def pack(result: Path, order: BuildOrder, folder: Path) -> Artifact:
    return pack_result(result, order, folder)


def test_the_manifest_says_what_it_is(result: Any, order: BuildOrder, tmp_path: Path) -> None:
    artifact = pack(result(), order, tmp_path / "packed")
    manifest = artifact.manifest
    expected = {
        "part": "runtime",
        "stack": "relay-0.19",
        "tvm": "0.19.0",
        "arch": "armv7l",
        "float_abi": "hard",
        "server": "lean",
        "python": "",
        "glibc": "2.34",
        "needs": {"GLIBC": "2.34", "GLIBCXX": "3.4.30"},
        "cpu": ["neon", "vfpv3d16"],
        "libraries": ["libc.so.6", "libstdc++.so.6"],
        "build_type": "Release",
        "build": order.key,
        "options": {"USE_LLVM": "OFF", "USE_RPC": "ON", "USE_SORT": "ON"},
        "packages": [],
    }
    assert {name: manifest[name] for name in expected} == expected
    assert manifest["needed_by"]["GLIBC"] == {"file": "lib/libtvm_runtime.so", "symbol": "dlclose"}
    assert artifact.key == manifest_key(manifest)


def test_the_archive_has_what_the_manifest_lists_and_no_evidence(
    result: Any, order: BuildOrder, tmp_path: Path
) -> None:
    artifact = pack(result(), order, tmp_path / "packed")
    found = {name: (mode, len(data)) for name, mode, data in read_archive(artifact.path)}
    assert set(found) == {*artifact.manifest["files"], "manifest.json", "VERSION"}
    assert found["lib/libtvm_runtime.so"][0] == 0o755
    assert artifact.manifest["files"]["lib/libtvm_runtime.so"]["mode"] == "0755"
    assert "libexec/rpc_server.py" in found and "evidence/compile_commands.json" not in found
    version = dict(line.split("=", 1) for line in _file(artifact, "VERSION").decode().splitlines())
    assert (version["tvm"], version["arch"], version["key"]) == ("0.19.0", "armv7l", artifact.key)


def _file(artifact: Artifact, name: str) -> bytes:
    return next(data for found, _, data in read_archive(artifact.path) if found == name)


def test_licences_are_those_of_what_was_compiled(result: Any, order: BuildOrder, tmp_path: Path) -> None:
    artifact = pack(result(), order, tmp_path / "packed")
    assert artifact.manifest["licences"] == [
        {"of": "dlpack", "files": ["licences/3rdparty/dlpack/LICENSE"]},
        {"of": "libcrc", "files": []},
        {"of": "picojson", "files": ["licences/3rdparty/picojson/NOTICE"]},
        {"of": "rang", "files": ["licences/tvm/licenses/LICENSE.rang.txt"]},
        {"of": "tvm", "files": ["licences/tvm/LICENSE"]},
    ]
    names = [name for name, _, _ in read_archive(artifact.path)]
    assert not any(name.startswith("evidence/") for name in names)
    assert _file(artifact, "licences/3rdparty/picojson/NOTICE") == b"/*\n * Copyright: all rights\n */\n"
    assert not any("cutlass" in name or "vllm" in name for name in names)
    assert b"Apache License" in _file(artifact, "licences/tvm/LICENSE")


def test_the_same_result_gives_the_same_bytes(result: Any, order: BuildOrder, tmp_path: Path) -> None:
    first = pack(result(mtime=1), order, tmp_path / "one").path.read_bytes()
    second = pack(result(mtime=999), order, tmp_path / "two").path.read_bytes()
    assert first == second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compile_commands": commands(USE_SORT="OFF")}, "USE_SORT is OFF, asked for was ON"),
        ({"compile_commands": commands(USE_LLVM="llvm-config")}, "USE_LLVM is llvm-config, asked for was OFF"),
        ({"compile_commands": b"[]"}, "does not say with which options"),
        ({"compile_commands": b"{"}, "compile_commands.json cannot be read"),
        ({"compile_commands": None}, "compile_commands.json cannot be read"),
        ({"libtvm_runtime": None}, "the build made no lib/libtvm_runtime.so"),
        ({"libtvm_runtime": b"#!/bin/sh"}, "the build made no lib/libtvm_runtime.so"),
        ({"libtvm_runtime": library(machine=3)}, "is for i386, not for armv7l-hard"),
        (
            {"libtvm_runtime": library(hard=False, attributes=arm_attributes(t28=0))},
            "is for armv7l soft, not for armv7l-hard",
        ),
        ({"libtvm_runtime": library(defined=("TVMFuncCall",))}, "does not export TVMFuncGetGlobal, TVMGetLastError"),
    ],
)
def test_what_was_not_asked_for_is_refused(
    changes: dict[str, Any], message: str, result: Any, order: BuildOrder, tmp_path: Path
) -> None:
    with pytest.raises(StackError, match=message):
        pack(result(**changes), order, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_a_result_that_is_damaged_or_leaves_its_folder_is_refused(
    result: Any, order: BuildOrder, tmp_path: Path
) -> None:
    path = result()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StackError, match="cannot be read"):
        pack(path, order, tmp_path / "packed")
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../out"), io.BytesIO())
    with pytest.raises(StackError, match="leaves its folder"):
        pack(path, order, tmp_path / "packed")
    path.unlink()
    with pytest.raises(StackError, match="the build left no"):
        pack(path, order, tmp_path / "packed")


def test_keys_of_orders(order: BuildOrder, tmp_path: Path) -> None:
    def changed(**values: Any) -> str:
        return dataclasses.replace(order, **values).key

    assert dataclasses.replace(order, settings={"most_jobs": 1}).key == order.key  # how fast is no input
    other_gcc = dataclasses.replace(GCC, version="12.3.0")
    elsewhere = dataclasses.replace(GCC, cxx="/opt/gcc/bin/g++")
    assert changed(toolchain=dataclasses.replace(order.toolchain, compiler=elsewhere)) == order.key
    others = {
        changed(build_type="Debug"),
        changed(target="full"),
        changed(config=Config("set(USE_RPC OFF)\n", {"USE_RPC": "OFF"})),
        changed(source=dataclasses.replace(order.source, identity="cd" * 32)),
        changed(source=dataclasses.replace(order.source, commit="1" * 40)),
        changed(source=dataclasses.replace(order.source, submodules={"3rdparty/rang": "2" * 40})),
        changed(toolchain=dataclasses.replace(order.toolchain, compiler=other_gcc)),
        changed(toolchain=dataclasses.replace(order.toolchain, flags=())),
        changed(toolchain=dataclasses.replace(order.toolchain, static_libstdcxx=True)),
        changed(stack=dataclasses.replace(order.stack, server="cpp")),
    }
    assert len(others) == 10 and order.key not in others


def test_what_is_collected_of_a_checkout_and_of_a_full_build(order: BuildOrder) -> None:
    package = order.source.folder / "python" / "tvm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    full = dataclasses.replace(order, target="full")
    wanted = {rule["to"] for rule in install_rules(full)}
    assert {"lib/libtvm.so", "lib/libtvm_runtime.so", "python/tvm"} <= wanted
    assert "python/tvm" not in {rule["to"] for rule in install_rules(order)}
    cpp = dataclasses.replace(order, config=Config("", {"USE_CPP_RPC": "ON"}))
    assert "bin/tvm_rpc" in {rule["to"] for rule in install_rules(cpp)}
    assert cpp.spec["targets"] == ["tvm_runtime", "tvm_rpc"]
    true = dataclasses.replace(order, config=Config("", {"USE_CPP_RPC": "TRUE"}))
    assert true.spec["targets"] == ["tvm_runtime", "tvm_rpc"]


def test_a_server_that_was_not_built_is_missed(result: Any, order: BuildOrder, tmp_path: Path) -> None:
    served = dataclasses.replace(order, stack=dataclasses.replace(order.stack, server="cpp"))
    with pytest.raises(StackError, match="the build made no bin/tvm_rpc"):
        pack(result(), served, tmp_path / "packed")


@pytest.mark.parametrize(
    ("option", "name"), [("USE_VTA_FSIM", "vta_fsim"), ("USE_VTA_TSIM", "vta_tsim"), ("USE_VTA_FPGA", "vta")]
)
def test_a_driver_of_vta_is_built_and_collected_where_it_is_asked_for(
    option: str, name: str, order: BuildOrder
) -> None:
    driven = dataclasses.replace(order, config=Config("", {option: "ON"}))
    assert driven.spec["targets"] == ["tvm_runtime", name]
    assert {f"lib/lib{name}.so", "python/vta", "vta-hw/config"} <= {rule["to"] for rule in install_rules(driven)}
    assert not [rule for rule in install_rules(order) if "vta" in rule["to"]]


def test_options_that_libinfo_does_not_name_are_no_disagreement() -> None:
    assert disagreements({"USE_NEW": "ON", "USE_RPC": "ON"}, {"USE_RPC": "ON"}) == []


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("ON", "/usr/bin/llvm-config-14", True),
        ("OFF", "NOT-FOUND", True),
        ("off", "OFF", True),
        ("none", "OFF", True),
        ("ON", "OFF", False),
        ("/usr/local/cuda", "OFF", False),
    ],
)
def test_values_of_options(one: str, other: str, equal: bool) -> None:
    assert (disagreements({"USE_X": one}, {"USE_X": other}) == []) is equal


def test_third_parties_of_a_full_build_are_those_of_all_sources() -> None:
    entries = json.loads(commands())
    assert third_parties(entries, "runtime") == ["dlpack", "libcrc", "picojson", "rang"]
    assert third_parties(entries, "full") == ["cutlass", "dlpack", "libcrc", "picojson", "rang"]
