"""Options of a source tree: which there are, and what is said about those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_tree import small_tree

from tvmops.errors import ConfigError, ConfigErrors, StackError
from tvmops.stack.options import Asked, check_options, history, known_options, renamed_options
from tvmops.stack.versions import release, releases


def complaint(tree: Path, name: str, value: str = "ON", tag: str = "v0.19.0") -> str:
    try:
        check_options({name: Asked(value, "here:1")}, tree, release(tag))
    except ConfigError as error:
        return str(error)
    return ""


def test_what_a_tree_defines(tmp_path: Path) -> None:
    options = known_options(small_tree(tmp_path))
    assert options["USE_RPC"].place == "CMakeLists.txt:4"
    assert options["USE_RPC"].about == "Build with RPC"
    assert options["USE_KALLOC_ALIGNMENT"].place == "cmake/config.cmake:13"
    assert options["USE_KALLOC_ALIGNMENT"].about == "Alignment of allocations"
    assert {name for name, option in options.items() if not option.reads} == {"USE_VTA_FSIM"}
    assert {name for name, option in options.items() if option.takes_path} == {"USE_LLVM", "USE_OPENCL", "ROCM_PATH"}
    assert {"AUTO", "COMPILE", "ON"} <= set(options["USE_LIBBACKTRACE"].choices)
    assert options["USE_BLAS"].choices == ()
    assert renamed_options(tmp_path) == {"USE_GRAPH_RUNTIME": "USE_GRAPH_EXECUTOR"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("USE_RPC", "ON", ""),
        ("USE_RPC", "off", ""),
        ("USE_RPC", "maybe", "USE_RPC cannot be 'maybe': it is ON, OFF"),
        ("USE_RPC", "/usr/lib", "USE_RPC cannot be '/usr/lib'"),
        ("USE_OPENCL", "/", ""),
        ("USE_OPENCL", "/no/such/sdk", "USE_OPENCL: there is no /no/such/sdk"),
        ("USE_LLVM", "/no/llvm-config --link-static", "there is no /no/llvm-config\n"),
        ("USE_LLVM", "llvm-config-14 --link-static", ""),
        ("USE_BLAS", "openblas", ""),
        ("USE_LIBBACKTRACE", "AUTO", ""),
        ("USE_LIBBACKTRACE", "ON", "needs 3rdparty/libbacktrace, which this source tree lacks"),
        ("USE_CPP_RPC", "ON", "needs apps/cpp_rpc, which this source tree lacks"),
        ("USE_CPP_RPC", "OFF", ""),
        ("USE_GRAPH_RUNTIME", "ON", "USE_GRAPH_RUNTIME is called USE_GRAPH_EXECUTOR in v0.19.0"),
        ("USE_VM_PROFILER", "ON", "USE_VM_PROFILER is called USE_PROFILER in v0.19.0"),
        ("USE_GRAPH_EXECUTER", "ON", "v0.19.0 has no option USE_GRAPH_EXECUTER\n  did you mean 'USE_GRAPH_EXECUTOR'?"),
        ("USE_VTA_FSIM", "ON", "removed after v0.18.0, this is v0.19.0; cmake/config.cmake still lists it"),
        ("USE_VTA_FSIM", "OFF", "removed after v0.18.0"),
        ("USE_ETHOSU", "ON", "USE_ETHOSU was removed after v0.18.0, this is v0.19.0\n"),
        ("CMAKE_BUILD_TYPE", "Debug", "variables of CMake itself are chosen by the builder"),
    ],
)
def test_what_is_said_about_an_option(tmp_path: Path, name: str, value: str, expected: str) -> None:
    said = complaint(small_tree(tmp_path), name, value)
    assert expected in said
    assert bool(said) == bool(expected)
    assert not said or said.startswith("here:1: ")


def test_an_option_that_comes_later(tmp_path: Path) -> None:
    said = complaint(small_tree(tmp_path), "USE_NVSHMEM", tag="v0.8.0")
    assert f"USE_NVSHMEM came with {history()['USE_NVSHMEM'][0]}, this is v0.8.0" in said


def test_a_listed_option_that_nothing_reads_and_nobody_knows(tmp_path: Path) -> None:
    config = small_tree(tmp_path) / "cmake" / "config.cmake"
    config.write_text(config.read_text() + "\nset(USE_NOTHING OFF)\n")
    assert "cmake/config.cmake:20 lists USE_NOTHING, but nothing in this tree reads it" in complaint(
        tmp_path, "USE_NOTHING"
    )


def test_vta_where_its_hardware_repository_is_missing(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    module = tree / "cmake" / "modules" / "VTA.cmake"
    module.write_text("if(USE_VTA_FSIM)\nendif()\n")
    assert "which v0.9.0 has not\n  VTA cannot be built" in complaint(tree, "USE_VTA_FSIM", tag="v0.9.0")
    assert "which this source tree lacks" in complaint(tree, "USE_VTA_FSIM", tag="v0.18.0")
    (tree / "3rdparty" / "vta-hw" / "config").mkdir(parents=True)
    assert complaint(tree, "USE_VTA_FSIM", tag="v0.18.0") == ""


def test_all_faults_at_once(tmp_path: Path) -> None:
    asked = {"USE_RPX": Asked("ON", "a.yml:3:5"), "USE_SORT": Asked("7up", "--set USE_SORT=7up")}
    with pytest.raises(ConfigErrors) as raised:
        check_options(asked, small_tree(tmp_path), release("v0.19.0"))
    assert "a.yml:3:5: v0.19.0 has no option USE_RPX\n  did you mean 'USE_RPC'?" in str(raised.value)
    assert "--set USE_SORT=7up: USE_SORT cannot be '7up'" in str(raised.value)


def test_paths_of_another_machine_are_not_looked_for_here(tmp_path: Path) -> None:
    asked = {"USE_OPENCL": Asked("/no/such/sdk", "here:1")}
    check_options(asked, small_tree(tmp_path), release("v0.19.0"), exists=lambda path: True)


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="this is no source tree of TVM"):
        known_options(tmp_path)


def test_the_history_is_of_known_releases() -> None:
    tags = {row.tag for row in releases()}
    for name, (first, last) in history().items():
        assert first in tags, name
        assert last in {*tags, ""}, name
    assert history()["USE_VTA_FSIM"] == ("v0.6.1", "v0.18.0")
    assert history()["USE_GRAPH_EXECUTOR"] == ("v0.8.0", "v0.19.0")
    assert history()["USE_GRAPH_RUNTIME"] == ("v0.6.1", "v0.7.0")
    assert history()["USE_OPENCL"] == ("v0.6.1", "")
