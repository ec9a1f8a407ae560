"""A small source tree with the kinds of options that TVM's own CMake files have."""

from __future__ import annotations

from pathlib import Path

CMAKE_LISTS = """\
cmake_minimum_required(VERSION 3.18)
project(tvm C CXX)
include(cmake/utils/Utils.cmake)
tvm_option(USE_RPC "Build with RPC" ON)
tvm_option(USE_LLVM "Build with LLVM, can be set to specific llvm-config path" OFF)
tvm_option(USE_OPENCL "Build with OpenCL" OFF)
tvm_option(USE_GRAPH_EXECUTOR "Build with tiny graph executor" ON)
tvm_option(USE_PROFILER "Build profiler for the VM and graph executor" ON)
tvm_option(USE_SORT "Build with sort support" ON)
tvm_option(USE_CPP_RPC "Build CPP RPC" OFF)
tvm_option(USE_LIBBACKTRACE "Use libbacktrace (see config.cmake)" AUTO)
tvm_option(USE_BLAS "The blas library to be linked" none)
tvm_option(ROCM_PATH "The path to rocm" /opt/rocm)
if(USE_GRAPH_RUNTIME AND NOT DEFINED USE_GRAPH_EXECUTOR)
  message(WARNING "USE_GRAPH_RUNTIME renamed to USE_GRAPH_EXECUTOR. Please update your config.cmake")
endif()
if(USE_RPC)
  add_subdirectory("apps/cpp_rpc")
endif()
"""
CONFIG = """\
# Whether enable OpenCL runtime
#
# Possible values:
# - ON: enable OpenCL with OpenCL wrapper
# - OFF: disable OpenCL
# - /path/to/opencl-sdk: use specific path to opencl-sdk
set(USE_OPENCL OFF)

# Whether to build fast VTA simulator driver
set(USE_VTA_FSIM OFF)

# Alignment of allocations
set(USE_KALLOC_ALIGNMENT 64)

# Whether to link backtraces in
# - AUTO: where it can be
# - COMPILE: always
set(USE_LIBBACKTRACE AUTO)
"""
MODULE = """\
#[[ USE_VTA_FSIM is spoken of here, # but not used
]]
if(USE_KALLOC_ALIGNMENT GREATER 0)
  message(STATUS "Alignment ${USE_KALLOC_ALIGNMENT}")
endif()
"""


def small_tree(folder: Path) -> Path:
    """The tree, in `folder`."""
    files = {"CMakeLists.txt": CMAKE_LISTS, "cmake/config.cmake": CONFIG, "cmake/modules/Memory.cmake": MODULE}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
