"""TVM 0.19's runtime, really compiled for three machines by one `tvmops build`, and what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from build_runs import X86, Builds
from built_runtimes import ARCHITECTURES, BUILD_SECONDS, built_runtimes

from tvmops.paths import project_root
from tvmops.stack import load_stack
from tvmops.stack.artifact import Artifact, manifest_key, read_archive
from tvmops.stack.elf import defined_symbols, read_elf
from tvmops.stack.sources import fetch_source

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
FUNCTIONS = {"TVMFuncCall", "TVMFuncGetGlobal", "TVMModLoadFromFile", "TVMArrayAlloc"}


@pytest.fixture(scope="module")
def runtimes() -> dict[str, Artifact]:
    return built_runtimes(*ARCHITECTURES)


def unpacked(artifact: Artifact, folder: Path) -> Path:
    for name, mode, data in read_archive(artifact.path):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    return folder


def test_each_is_what_its_manifest_says(runtimes: dict[str, Artifact]) -> None:
    """Machine, float ABI, needed versions, options, licences; small; the key names the content."""
    assert set(runtimes) == set(ARCHITECTURES)
    for arch, artifact in runtimes.items():
        manifest, files = artifact.manifest, {name: data for name, _, data in read_archive(artifact.path)}
        assert artifact.key == manifest_key(manifest)
        assert set(files) == {*manifest["files"], "manifest.json", "VERSION"}
        library = files["lib/libtvm_runtime.so"]
        elf = read_elf(library)
        assert (elf.arch, elf.float_abi) == (arch, "hard" if arch == "armv7l" else "")
        assert defined_symbols(library) >= FUNCTIONS
        assert {name: elf.needs[name].version for name in elf.needs} == manifest["needs"]
        assert {"libexec/rpc_server.py", "libexec/smoke.py", "licences/tvm/LICENSE"} <= set(files)
        assert {"tvm", "dlpack", "dmlc-core", "picojson"} <= {one["of"] for one in manifest["licences"]}
        assert all(one["files"] for one in manifest["licences"])
        assert {name: manifest["built_with"][name] for name in ("USE_RPC", "USE_SORT", "USE_LLVM")} == {
            "USE_RPC": "ON",
            "USE_SORT": "ON",
            "USE_LLVM": "OFF",
        }
        assert artifact.size < 3_000_000 and len(library) < 6_000_000
        assert len(manifest["source"]["identity"]) == 64 and manifest["toolchain"]["version"]


def test_the_one_for_this_machine_computes_and_names_its_options(runtimes: dict[str, Artifact], tmp_path: Path) -> None:
    """Its own smoke test, run as boards run it: loads, sorts, and libinfo() agrees with the manifest."""
    release = unpacked(runtimes["x86_64"], tmp_path / "release")
    result = tmp_path / "smoke.json"
    done = subprocess.run(
        [sys.executable, "-I", str(release / "libexec" / "smoke.py"), str(release), str(result)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text())
    assert found["devices"] == ["cpu"]
    built_with = runtimes["x86_64"].manifest["built_with"]
    # libinfo() calls one or two of its definitions otherwise (TVM_CLML_VERSION).
    named = built_with.keys() & found["library_info"].keys()
    assert len(named) > 0.9 * len(built_with)
    assert {name: found["library_info"][name] for name in named} == {name: built_with[name] for name in named}


@pytest.mark.parametrize(
    ("arch", "machine", "triple"),
    [("aarch64", "aarch64", "aarch64-linux-gnu"), ("armv7l", "arm", "arm-linux-gnueabihf")],
)
def test_the_crossed_ones_load_and_answer_under_emulation(
    arch: str, machine: str, triple: str, runtimes: dict[str, Artifact], tmp_path: Path
) -> None:
    """A C program of that machine opens the library and calls a function of it."""
    release = unpacked(runtimes[arch], tmp_path / "release")
    program = tmp_path / "ask"
    source = Path(__file__).parent / "ask_runtime.c"
    subprocess.run([f"{triple}-gcc", "-O1", "-o", str(program), str(source), "-ldl"], check=True, timeout=120)
    library = release / "lib" / "libtvm_runtime.so"
    done = subprocess.run(
        [f"qemu-{machine}-static", "-L", f"/usr/{triple}", str(program), str(library)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["argsort", "yes", "cpu", "1"]


def test_nothing_of_the_builder_shows_in_what_boards_get(runtimes: dict[str, Artifact]) -> None:
    """Neither the work folder nor this checkout: another builder would have made the same bytes."""
    for artifact in runtimes.values():
        for name, _, data in read_archive(artifact.path):
            assert b"/tvmops/build/" not in data, name
            assert str(project_root()).encode() not in data, name


def test_another_controller_makes_the_same_bytes_whatever_it_built_before(
    runtimes: dict[str, Artifact], tmp_path: Path
) -> None:
    """In a new folder, first with other options, then as asked. Objects may come from ccache, no configuration does.

    TVM takes a "-g" in its flags, and so in a folder's name, for a debug build.
    """
    tree = str(fetch_source(load_stack("relay-0.19")).folder)
    builds = Builds(tmp_path / "other-g", {"x": X86})
    for options in (["--set", "USE_PROFILER=OFF"], []):
        done = builds.run("--source", tree, *options, timeout=BUILD_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
    made = builds.store / runtimes["x86_64"].path.name
    assert made.is_file(), f"there is no {made.name} among {sorted(path.name for path in builds.store.iterdir())}"
    assert made.read_bytes() == runtimes["x86_64"].path.read_bytes()
