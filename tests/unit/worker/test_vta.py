"""VTA without TVM: what a workload may say, what the trees must have, the simulator's cache, its counters."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest
from small_vta import small_tree
from worker_process import make_job

from tvmops.worker.failures import JobError, first_words
from tvmops.worker.job import Job
from tvmops.worker.vta import address, counters, hardware, simulator, tree
from tvmops.worker.vta.settings import COUNTERS, settings_of

COUNTED = dict.fromkeys(COUNTERS, 1000)


def failing(kind: str, call: Any, *arguments: Any) -> str:
    with pytest.raises(JobError) as caught:
        call(*arguments)
    assert caught.value.kind == kind
    return caught.value.message


# -- what a workload says --------------------------------------------------------------------------------------


def test_defaults_are_the_tutorials() -> None:
    settings = settings_of({"cache_dir": "/cache"})
    assert (settings.global_scale, settings.skip_conv_layers, settings.opt_level) == (8.0, [0], 3)
    assert (settings.start_name, settings.stop_name) == ("nn.max_pool2d", "nn.global_avg_pool2d")
    assert settings.cache_dir == Path("/cache")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("sim", "'vta' must be a mapping"),
        ({"treee": "/x"}, "unknown option vta.treee; known: tree, hardware"),
        ({"tree": "src/tvm"}, "vta.tree 'src/tvm' must be absolute"),
        ({"global_scale": 0}, "vta.global_scale must be a positive number, not 0"),
        ({"global_scale": "8"}, "vta.global_scale must be a positive number"),
        ({"skip_conv_layers": 0}, "vta.skip_conv_layers must be a list"),
        ({"skip_conv_layers": [-1]}, "vta.skip_conv_layers must be a list"),
        ({"opt_level": 4}, "vta.opt_level must be 0, 1, 2 or 3"),
        ({"start_name": 3}, "vta.start_name must be the name of an operator"),
        ({"expected": {"gemm": 1}}, "vta.expected: no counter 'gemm'; known: inp_load_nbytes"),
        ({"expected": {"gemm_counter": "many"}}, "vta.expected.gemm_counter must be a number"),
        ({"within": {"alu_counter": -0.1}}, "vta.within.alu_counter must be a number from 0 on"),
    ],
)
def test_what_a_workload_may_not_say(given: Any, words: str) -> None:
    assert words in failing("BadInput", settings_of, {"vta": given})


# -- geometry --------------------------------------------------------------------------------------------------


def test_the_default_geometry_has_the_published_bitstreams_name() -> None:
    assert hardware.bitstream_name(hardware.configuration("pynq")) == "1x16_i8w8a32_15_15_18_17"


def test_a_host_decides_its_model_and_a_file_the_geometry(tmp_path: Path) -> None:
    path = tmp_path / "wide.json"
    path.write_text(json.dumps({"TARGET": "pynq", "LOG_BLOCK": 5, "LOG_BATCH": 1}))
    config = hardware.configuration("sim", str(path))
    assert config["TARGET"] == "sim"
    assert hardware.bitstream_name(config) == "2x32_i8w8a32_15_15_18_17"
    derived = hardware.complete(config)
    assert (derived["LOG_BLOCK_IN"], derived["LOG_BLOCK_OUT"]) == (5, 5)
    assert (derived["LOG_OUT_WIDTH"], derived["LOG_OUT_BUFF_SIZE"]) == (3, 15)


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        ("tsim", None, "has the model 'tsim'; tvmops runs VTA on: sim, pynq, ultra96"),
        ("sim", {"LOG_BLOK": 4}, "unknown LOG_BLOK"),
        ("sim", {"LOG_BLOCK": "4"}, "LOG_BLOCK must be a whole number"),
        ("sim", {"LOG_BLOCK": 40}, "LOG_BLOCK is a logarithm from 0 to 31, not 40"),
        ("sim", {"LOG_INP_WIDTH": 2}, "must be 3 (8 bits)"),
        ("sim", [1], "must be a mapping or the path of a JSON file"),
        ("sim", "/nowhere/vta.json", "/nowhere/vta.json: the VTA configuration cannot be read"),
    ],
)
def test_configurations_that_cannot_be(model: str, given: Any, words: str) -> None:
    assert words in failing("BadInput", hardware.configuration, model, given)


def test_a_configuration_that_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "vta.json"
    path.write_text("TARGET=sim")
    assert f"{path}: the VTA configuration is not JSON" in failing("BadInput", hardware.configuration, "sim", str(path))


# -- trees -----------------------------------------------------------------------------------------------------


def sources(folder: Path, **more: str) -> tree.Sources:
    return tree.sources_of(settings_of({"vta": {"tree": str(folder), **more}}))


def test_no_tree_is_named() -> None:
    assert "tvm_vta_tree" in failing("BadInput", tree.sources_of, settings_of({}))


def test_every_missing_file_is_named_with_its_tree(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: no such folder" in failing("BadInput", sources, tmp_path / "none")
    folder = small_tree(tmp_path / "tvm")
    assert sources(folder).hardware == folder / "3rdparty/vta-hw"
    for name in tree.NEEDED:
        text = (folder / name).read_text()
        (folder / name).unlink()
        assert f"{folder} has no {name}" in failing("BadInput", sources, folder)
        (folder / name).write_text(text)
    for name in tree.NEEDED_OF_HARDWARE:
        path = folder / "3rdparty/vta-hw" / name
        text = path.read_text()
        path.unlink()
        message = failing("BadInput", sources, folder)
        assert f"vta-hw has no {name}" in message
        assert f"git submodule update --init 3rdparty/vta-hw' in {folder}" in message
        path.write_text(text)


def test_a_hardware_repository_of_its_own(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "tvm")
    apart = (folder / "3rdparty/vta-hw").rename(tmp_path / "hw")
    assert sources(folder, hardware=str(apart)).hardware == apart
    message = failing("BadInput", lambda: sources(folder, hardware=str(tmp_path)))
    assert "tvm_vta_hw" in message
    assert "submodule" not in message


def test_identity_is_the_contents(tmp_path: Path) -> None:
    one, other = small_tree(tmp_path / "one"), small_tree(tmp_path / "other")
    (other / "README.md").write_text("what is not compiled does not count")
    assert tree.identity(sources(one)) == tree.identity(sources(other))
    (other / "vta/python/vta/environment.py").write_text("changed = True")
    assert tree.identity(sources(one)) != tree.identity(sources(other))


def test_a_tuning_log_that_has_nothing_for_vta(tmp_path: Path) -> None:
    """TVM would say nothing and compile with default schedules, which move sixty times the bytes."""
    hub = {"kind": "tophub", "folder": str(tmp_path)}
    assert f"{tmp_path / 'vta_v0.10.log'}: no such file" in failing("BadInput", tree.check_log, hub)
    (tmp_path / "vta_v0.10.log").write_text("{}")
    tree.check_log(hub)
    tree.check_log({"kind": "none"})
    tree.check_log({"kind": "log", "method": "autotvm", "path": "x"})
    assert "not by ansor" in failing("BadInput", tree.check_log, {"kind": "log", "method": "ansor", "path": "x"})


# -- the simulator's cache -------------------------------------------------------------------------------------


def compiled(folder: Path, cache: Path, config: dict[str, Any] | None = None) -> Path:
    settings = hardware.configuration("sim", config)
    return simulator.library(sources(folder), settings, cache / "no-tvm-here", cache)


def test_a_simulator_is_compiled_once_per_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_tree(tmp_path / "tvm")
    library = compiled(folder, tmp_path)
    assert ctypes.CDLL(str(library)).block() == 4
    before = library.stat().st_ino
    assert compiled(folder, tmp_path) == library
    assert library.stat().st_ino == before, "not compiled again"
    wide = compiled(folder, tmp_path, {"LOG_BLOCK": 5})
    assert ctypes.CDLL(str(wide)).block() == 5
    (folder / "3rdparty/vta-hw/src/sim/sim_tlpp.cc").write_text("int more;")
    changed = compiled(folder, tmp_path)
    (folder / "include/tvm/runtime/registry.h").write_text("#define NEWER")
    assert len({library, wide, changed, compiled(folder, tmp_path)}) == 4
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "there is no no-such-compiler" in failing("BadInput", compiled, folder, tmp_path)


def test_a_simulator_that_does_not_compile(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "tvm")
    broken = folder / "3rdparty/vta-hw/src/sim/sim_driver.cc"
    broken.write_text("this is no C++")
    message = failing("Compile", compiled, folder, tmp_path)
    assert "VTA's simulator does not compile" in message
    assert "sim_driver.cc" in message
    log = Path(message.rsplit("all of it: ", 1)[1])
    assert "sim_driver.cc" in log.read_text()
    assert not list(tmp_path.rglob(simulator.LIBRARY)), "nothing half made is left"


def test_headers_that_are_nowhere(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "tvm")
    (folder / "3rdparty/dlpack/include/dlpack/dlpack.h").unlink()
    message = failing("BadInput", compiled, folder, tmp_path)
    assert "needs the header dlpack/dlpack.h, which is in none of" in message
    assert str(folder / "3rdparty/dlpack/include") in message


# -- counters --------------------------------------------------------------------------------------------------


def test_counters_as_the_simulator_prints_them() -> None:
    assert counters.read(json.dumps({**COUNTED, "news": 1})) == COUNTED
    assert "cannot read" in failing("Compile", counters.read, "no simulator")
    assert "alu_counter" in failing("Compile", counters.read, json.dumps({**COUNTED, "alu_counter": None}))
    del COUNTED["alu_counter"]
    assert "alu_counter" in failing("Compile", counters.read, json.dumps(COUNTED))
    COUNTED["alu_counter"] = 1000


@pytest.mark.parametrize(
    ("expected", "within", "ok"),
    [(1000, 0, True), (1001, 0, False), (1004, 0.005, True), (1006, 0.005, False), (996, 0.005, True), (0, 0.5, False)],
)
def test_counters_beside_what_is_expected(expected: int, within: float, ok: bool) -> None:
    given = {"expected": {"alu_counter": expected}, "within": {"alu_counter": within} if within else {}}
    settings = settings_of({"vta": given})
    table = counters.beside_expected(dict.fromkeys(COUNTERS, 1000), settings)
    assert table["alu_counter"]["expected"] == expected
    assert table["gemm_counter"] == {"counted": 1000, "expected": None, "difference": None}
    if ok:
        counters.check(table, settings)
        assert abs(table["alu_counter"]["difference"]) <= within
    else:
        message = failing("WrongOutput", counters.check, table, settings)
        assert f"counted alu_counter 1000 in one inference, the workload expects {expected}" in message


# -- where a board is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rpc", "environ", "found"),
    [
        ({"host": "h"}, {"VTA_RPC_HOST": "other"}, ("h", 9091, "", False)),
        (
            {"host": "h", "port": 7, "key": "k"},
            {"TVM_TRACKER_HOST": "t", "TVM_TRACKER_PORT": "1"},
            ("h", 7, "k", False),
        ),
        ({}, {"TVM_TRACKER_HOST": "t", "TVM_TRACKER_PORT": "9190"}, ("t", 9190, "pynq", True)),
        ({"tracker": {"host": "t", "port": 5}, "key": "z1"}, {"VTA_RPC_HOST": "b"}, ("t", 5, "z1", True)),
        ({}, {"TVM_TRACKER_HOST": "t", "VTA_RPC_HOST": "192.168.2.99"}, ("192.168.2.99", 9091, "", False)),
        ({}, {"VTA_RPC_HOST": "b", "VTA_RPC_PORT": "9092"}, ("b", 9092, "", False)),
    ],
)
def test_where_a_board_is(rpc: dict[str, Any], environ: dict[str, str], found: tuple[Any, ...]) -> None:
    assert tuple(address.address_of(rpc, "pynq", environ)) == found


def test_a_board_that_is_nowhere() -> None:
    assert "set TVM_TRACKER_HOST" in failing("BadInput", address.address_of, {}, "pynq", {})
    message = failing("BadInput", address.address_of, {}, "pynq", {"VTA_RPC_HOST": "b", "VTA_RPC_PORT": "ssh"})
    assert "VTA_RPC_PORT must be a port number, not 'ssh'" in message


# -- jobs ------------------------------------------------------------------------------------------------------


def test_a_job_tells_a_backend_where_it_may_keep_things(tmp_path: Path) -> None:
    directory = make_job(tmp_path / "job", tmp_path, "compile", {"options": {"a": 1}})
    assert Job(directory).options == {"a": 1, "cache_dir": str(tmp_path)}


def test_errors_of_tvm_are_told_without_their_c_frames() -> None:
    text = (
        "Traceback (most recent call last):\n"
        "  5: tvm::runtime::RPCWrappedFunc::operator()(tvm::runtime::TVMArgs) const\n"
        "  0: _ZN3tvm7runtime\n"
        '  File "/project/tvm/src/runtime/rpc/rpc_endpoint.cc", line 439\n'
        "RPCError: Error caught from RPC call:\n"
    )
    assert first_words(Exception(text)) == "RPCError: Error caught from RPC call:"
