"""Trees that look like TVM's with VTA, as small as the checks and the compiler need them. None of VTA is in them."""

from __future__ import annotations

from pathlib import Path

CONFIG_PROGRAM = """
import json, sys
path = next(word.split("=", 1)[1] for word in sys.argv if word.startswith("--use-cfg="))
print(" ".join(f"-DVTA_{name}={value}" for name, value in json.load(open(path)).items()))
"""
DRIVER = """
#include <dlpack/dlpack.h>
#include <dmlc/thread_local.h>
#include <tvm/runtime/registry.h>
#include <vta/driver.h>
extern "C" int block() { return VTA_LOG_BLOCK; }
"""
TREE = {
    "vta/python/vta/__init__.py": "",
    "vta/python/vta/environment.py": "",
    "vta/runtime/device_api.cc": "",
    "vta/runtime/runtime.cc": "",
    "vta/runtime/runtime.h": "",
    "src/runtime/workspace_pool.h": "",
    "include/tvm/runtime/registry.h": "",
    "3rdparty/dlpack/include/dlpack/dlpack.h": "",
    "3rdparty/dmlc-core/include/dmlc/thread_local.h": "",
}
HARDWARE = {
    "config/pkg_config.py": "",
    "config/vta_config.py": CONFIG_PROGRAM,
    "include/vta/driver.h": "",
    "include/vta/hw_spec.h": "",
    "src/sim/sim_driver.cc": DRIVER,
    "src/sim/sim_tlpp.cc": "",
    "src/vmem/virtual_memory.cc": "",
}


def small_tree(folder: Path) -> Path:
    """A tree with its hardware repository inside, as the submodule leaves it."""
    files = {**TREE, **{f"3rdparty/vta-hw/{name}": text for name, text in HARDWARE.items()}}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
