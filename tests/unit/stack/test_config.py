"""config.cmake: who wins, that it is the same text every time, and that it says what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import read_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tree import small_tree

from tvmops.errors import ConfigError
from tvmops.source import parse_yaml
from tvmops.stack.config import parse_settings, render_config
from tvmops.stack.spec import Stack, load_stack

TEXT = """\
# Options of v0.19.0 for the target 'full', in alphabetical order. Written by tvmops; read once by CMake.

# Build with LLVM, can be set to specific llvm-config path
set(USE_LLVM "/on/the/builder/llvm-config --link-static")

# Whether enable OpenCL runtime
set(USE_OPENCL OFF)

# Build with RPC
set(USE_RPC ON)
"""


def stack(**options: str) -> Stack:
    return Stack(
        name="small",
        api="relay",
        version="0.19.0",
        python_min="3.10",
        python_below="3.12",
        architectures=("x86_64",),
        glibc="2.27",
        tag="v0.19.0",
        path="stacks/small.yml",
        sources={"x": {"kind": "git"}},
        options={"runtime": options, "full": options},
        places={f"full.{name}": f"stacks/small.yml:{line}:5" for line, name in enumerate(options, 30)},
    )


def test_the_text(tmp_path: Path) -> None:
    small = stack(USE_RPC="ON", USE_LLVM="ON", USE_OPENCL="OFF")
    tree = small_tree(tmp_path)
    tree.joinpath("CMakeLists.txt").write_text(
        tree.joinpath("CMakeLists.txt").read_text().replace('tvm_option(USE_OPENCL "Build with OpenCL" OFF)\n', "")
    )
    tree.joinpath("cmake/modules/OpenCL.cmake").write_text("if(USE_OPENCL)\nendif()\n")
    config = render_config(small, "full", {}, {}, tree, "/on/the/builder/llvm-config --link-static")
    assert config.text == TEXT
    assert config.options == {
        "USE_LLVM": "/on/the/builder/llvm-config --link-static",
        "USE_OPENCL": "OFF",
        "USE_RPC": "ON",
    }
    assert render_config(small, "full", {}, {}, tree, "/on/the/builder/llvm-config --link-static") == config


def test_the_command_line_is_stronger_than_the_board_and_that_than_the_stack(tmp_path: Path) -> None:
    small, tree = stack(USE_RPC="ON", USE_SORT="ON", USE_BLAS="none", USE_LLVM="ON"), small_tree(tmp_path)
    board = {"tvm_build_options": {"USE_SORT": False, "USE_BLAS": "openblas", "USE_LLVM": False}, "other": 1}
    options = render_config(small, "full", board, {"USE_BLAS": "atlas"}, tree, "llvm-config-14").options
    assert options == {"USE_RPC": "ON", "USE_SORT": "OFF", "USE_BLAS": "atlas", "USE_LLVM": "OFF"}


def test_faults_name_the_place_that_they_came_from(tmp_path: Path) -> None:
    small, tree = stack(USE_RPC="ON", USE_SORTS="ON"), small_tree(tmp_path)
    board = parse_yaml("tvm_build_options:\n  USE_GRAPH_RUNTIME: ON\n", "group_vars/jetson.yml")
    with pytest.raises(ConfigError) as raised:
        render_config(small, "full", board, {"USE_VTA_FSIM": "ON"}, tree)
    said = str(raised.value)
    assert "stacks/small.yml:31:5: v0.19.0 has no option USE_SORTS\n  did you mean 'USE_SORT'?" in said
    assert "group_vars/jetson.yml:2:3: USE_GRAPH_RUNTIME is called USE_GRAPH_EXECUTOR" in said
    assert "--set USE_VTA_FSIM=ON: USE_VTA_FSIM was removed after v0.18.0" in said


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ({"tvm_build_options": ["USE_RPC"]}, "tvm_build_options in the inventory is ['USE_RPC']"),
        ({"tvm_build_options": {"USE_RPC": None}}, "USE_RPC: None is no option with a value"),
        ({"tvm_build_options": {"use rpc": "ON"}}, "use rpc: 'ON' is no option with a value"),
    ],
)
def test_a_boards_options_that_are_none(tmp_path: Path, board: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        render_config(stack(USE_RPC="ON"), "full", board, {}, small_tree(tmp_path))
    assert expected in str(raised.value)


def test_a_stack_without_options_cannot_be_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stack relax-0\.27 has no options for the target 'runtime'"):
        render_config(load_stack("relax-0.27"), "runtime", {}, {}, small_tree(tmp_path))


def test_settings_of_the_command_line() -> None:
    assert parse_settings(["USE_A=ON", "USE_B=/a=b", "USE_A=OFF"]) == {"USE_A": "OFF", "USE_B": "/a=b"}
    for wrong in ("USE_A", "=ON", "USE A=ON", "USE_A=a\nb"):
        with pytest.raises(ConfigError, match="this is no option with a value"):
            parse_settings([wrong])


VALUES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["USE_BLAS", "USE_KALLOC_ALIGNMENT", "ROCM_PATH"]), VALUES, min_size=1))
def test_what_is_rendered_is_read_back(tmp_path: Path, wanted: dict[str, str]) -> None:
    config = render_config(stack(**wanted), "full", {}, {}, small_tree(tmp_path), exists=lambda path: True)
    assert read_config(config.text) == wanted == config.options
