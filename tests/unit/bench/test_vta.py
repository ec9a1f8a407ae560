"""VTA in a sweep: what is refused, what job.json is told, and what makes jobs new."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
from small_vta import small_tree

from tvmops.bench import documents, jobs
from tvmops.bench.cells import expand
from tvmops.bench.jobs import JobSet
from tvmops.bench.sweep_file import load_sweep
from tvmops.errors import ConfigError
from tvmops.inventory import Host

STACKS: dict[str, dict[str, Any]] = {
    "relay": {"name": "relay", "api": "relay", "version": "0.19.0", "pins": [], "extras": {}}
}
NATIVE = {"kind": "llvm", "mtriple": f"{platform.machine()}-linux-gnu", "num-cores": 2}
PYNQ = {"kind": "ext_dev", "device": "vta", "model": "pynq"}


def one(folder: Path, text: str, options: str = "{}", **variables: Any) -> JobSet:
    """The jobs of a sweep of one workload on one host."""
    path = folder / "s.yml"
    workload = f"workloads: [{{name: one, source: {{kind: generated}}, options: {options}}}]\n"
    path.write_text(text + workload, encoding="utf-8")
    host = Host("a", {"tvm_stack": "relay", "tvm_target": NATIVE, "tvm_targets": {"vta": PYNQ}, **variables})
    (found,) = jobs.make_jobs(expand(load_sweep(str(path)), [host], STACKS), STACKS, {})
    return found


def test_a_job_is_told_where_vta_is(tmp_path: Path) -> None:
    """By the host; what the workload says itself wins. The paths are not part of the key."""
    here, there = small_tree(tmp_path / "here"), small_tree(tmp_path / "there")
    found = one(tmp_path, "modes: sim\n", "{vta: {global_scale: 4.0}}", tvm_vta_tree=str(here))
    told = documents.for_compile(found.compile, found.cell)
    assert told["workload"]["options"]["vta"] == {"tree": str(here), "global_scale": 4.0}
    assert (told["mode"], told["target"]["model"]) == ("sim", "sim")
    moved = one(tmp_path, "modes: sim\n", "{vta: {global_scale: 4.0}}", tvm_vta_tree=str(there))
    assert moved.compile.key == found.compile.key
    other = one(tmp_path, "modes: sim\n", f"{{vta: {{tree: {there}}}}}", tvm_vta_tree=str(here))
    assert documents.for_compile(other.compile, other.cell)["workload"]["options"]["vta"]["tree"] == str(there)


def test_other_sources_and_another_geometry_are_other_jobs(tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tvm")
    before = one(tmp_path, "modes: sim\n", tvm_vta_tree=str(tree))
    wide = one(tmp_path, "modes: sim\n", "{vta: {config: {LOG_BLOCK: 5}}}", tvm_vta_tree=str(tree))
    (tree / "3rdparty/vta-hw/src/sim/sim_tlpp.cc").write_text("int more;")
    after = one(tmp_path, "modes: sim\n", tvm_vta_tree=str(tree))
    assert len({found.compile.key for found in (before, wide, after)}) == 3
    assert len({found.measure.key for found in (before, wide, after)}) == 3
    plain = one(tmp_path, "modes: rpc\n", tvm_vta_tree=str(tree))
    assert "vta" not in plain.compile.inputs
    assert "vta" not in documents.for_compile(plain.compile, plain.cell)["workload"]["options"]


def test_an_fpga_needs_its_bitstream(tmp_path: Path) -> None:
    tree, bits = small_tree(tmp_path / "tvm"), tmp_path / "vta.bit"
    with pytest.raises(ConfigError, match=r"name 1x16_i8w8a32_15_15_18_17\.bit in tvm_vta_bitstream"):
        one(tmp_path, "targets: vta\n", tvm_vta_tree=str(tree))
    bits.write_bytes(b"BIT")
    variables = {"tvm_vta_tree": str(tree), "tvm_vta_bitstream": str(bits)}
    first = one(tmp_path, "targets: vta\n", **variables)
    told = documents.for_board(first.measure, first.cell)
    assert told["target"] == {**PYNQ, "host": NATIVE}
    assert told["workload"]["options"]["vta"]["bitstream"] == str(bits)
    bits.write_bytes(b"BIT2")
    assert one(tmp_path, "targets: vta\n", **variables).measure.key != first.measure.key


def test_a_simulator_runs_here_whatever_the_host_is(tmp_path: Path) -> None:
    """No cross compiler links its library, and its number is told apart from the processor's."""
    tree = small_tree(tmp_path / "tvm")
    arm = {"kind": "llvm", "mtriple": "riscv64-linux-gnu", "num-cores": 2}
    variables = {"tvm_target": arm, "tvm_cross_compiler": "g++", "tvm_vta_tree": str(tree)}
    found = one(tmp_path, "modes: sim\n", **variables)
    assert found.cell.cross_compiler is None
    assert found.compile.title == "compile one for VTA (sim)"
    assert found.compile.key == one(tmp_path, "modes: sim\n", tvm_vta_tree=str(tree)).compile.key
