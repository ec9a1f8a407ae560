"""The trees and files that VTA comes from: is all there that is needed, and what is its identity?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple

from ..failures import JobError
from .hardware import bitstream_name
from .settings import VTA_TREE_HELP, Settings

HARDWARE = "3rdparty/vta-hw"
TOPHUB_LOG = "vta_v0.10.log"
NEEDED = (
    "vta/python/vta/__init__.py",
    "vta/python/vta/environment.py",
    "vta/runtime/device_api.cc",
    "vta/runtime/runtime.cc",
    "vta/runtime/runtime.h",
    "src/runtime/workspace_pool.h",
)
NEEDED_OF_HARDWARE = (
    "config/pkg_config.py",
    "config/vta_config.py",
    "include/vta/driver.h",
    "include/vta/hw_spec.h",
    "src/sim/sim_driver.cc",
    "src/sim/sim_tlpp.cc",
    "src/vmem/virtual_memory.cc",
)


class Sources(NamedTuple):
    """`tree` is TVM's, `hardware` VTA's hardware repository."""

    tree: Path
    hardware: Path


def sources_of(settings: Settings) -> Sources:
    """The two trees, complete. Raises JobError (BadInput) naming the path that lacks something."""
    if settings.tree is None:
        raise JobError("BadInput", f"VTA is not part of any package: {VTA_TREE_HELP}")
    tree = settings.tree
    if not tree.is_dir():
        raise JobError("BadInput", f"{tree}: no such folder; {VTA_TREE_HELP}")
    for name in NEEDED:
        if not (tree / name).is_file():
            raise JobError("BadInput", f"{tree} has no {name}; {VTA_TREE_HELP}")
    hardware = settings.hardware or tree / HARDWARE
    for name in NEEDED_OF_HARDWARE:
        if not (hardware / name).is_file():
            raise JobError("BadInput", _no_hardware(tree, hardware, name))
    return Sources(tree, hardware)


def _no_hardware(tree: Path, hardware: Path, name: str) -> str:
    cure = "name a copy of github.com/apache/tvm-vta in the host variable tvm_vta_hw"
    if hardware == tree / HARDWARE:
        cure = f"run 'git submodule update --init {HARDWARE}' in {tree}, or {cure}"
    return f"{hardware} has no {name}; {cure}"


def bitstream_of(settings: Settings, config: Dict[str, Any]) -> Path:
    """The bitstream's file. Raises JobError (BadInput)."""
    path = settings.bitstream
    if path is None:
        name = f"{bitstream_name(config)}.bit"
        raise JobError("BadInput", f"an FPGA is programmed with a file of yours: name {name} in tvm_vta_bitstream")
    if not path.is_file():
        raise JobError("BadInput", f"{path}: no such bitstream")
    return path


def check_log(tuning: Dict[str, Any]) -> None:
    """Raises JobError (BadInput) where the tuning has nothing for VTA: TVM itself would compile untuned."""
    kind, method = tuning.get("kind", "none"), tuning.get("method", "autotvm")
    if kind == "log" and method != "autotvm":
        raise JobError("BadInput", f"VTA is tuned by AutoTVM only, not by {method}")
    if kind == "tophub":
        path = Path(str(tuning.get("folder") or "")) / TOPHUB_LOG
        if not path.is_file():
            raise JobError(
                "BadInput",
                f"{path}: no such file; bring it with playbooks/tophub.yml, or count otherwise with --tuning none",
            )


def identity(sources: Sources) -> str:
    """sha256 over the names and contents of every file of the trees that decides what VTA compiles and counts."""
    digest = hashlib.sha256()
    for label, path in _files(sources):
        digest.update(f"{label}:{path.stat().st_size}:".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(sources: Sources) -> Iterator[tuple]:
    chosen = [
        (sources.tree, "vta/python", "*.py"),
        (sources.tree, "vta/runtime", "*"),
        (sources.tree, "src/runtime", "workspace_pool.h"),
        (sources.hardware, "config", "*.py"),
        (sources.hardware, "include", "*.h"),
        (sources.hardware, "src", "*"),
    ]
    for root, folder, pattern in chosen:
        for path in sorted((root / folder).rglob(pattern)):
            if path.is_file():
                yield f"{folder}/{path.relative_to(root / folder).as_posix()}", path


def simulator_sources(sources: Sources) -> list:
    """The C++ files of the functional simulator, as TVM's cmake/modules/VTA.cmake lists them."""
    return [
        *sorted((sources.hardware / "src").glob("*.cc")),
        *sorted((sources.tree / "vta" / "runtime").glob("*.cc")),
        sources.hardware / "src/sim/sim_driver.cc",
        sources.hardware / "src/sim/sim_tlpp.cc",
        sources.hardware / "src/vmem/virtual_memory.cc",
    ]
