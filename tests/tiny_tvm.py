"""A source tree that builds like TVM's runtime, in a second: options, libinfo, third parties, the C API's names."""

from __future__ import annotations

from pathlib import Path

OPTIONS = (
    "USE_RPC", "USE_CPP_RPC", "USE_GRAPH_EXECUTOR", "USE_PROFILER", "USE_SORT", "USE_RANDOM", "USE_LLVM",
    "USE_LIBBACKTRACE", "USE_GTEST", "HIDE_PRIVATE_SYMBOLS", "USE_OPENCL",
)  # fmt: skip
CMAKE = """cmake_minimum_required(VERSION 3.18)
project(tvm C CXX)
if(EXISTS ${CMAKE_CURRENT_BINARY_DIR}/config.cmake)
  include(${CMAKE_CURRENT_BINARY_DIR}/config.cmake)
endif()
macro(tvm_option name about value)
  if(NOT DEFINED ${name})
    set(${name} ${value})
  endif()
endmacro()
OPTIONS
if(USE_RPC)
endif()
set(CMAKE_CXX_STANDARD 17)
file(GLOB SOURCES src/runtime/*.cc)
if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/slow)
  add_custom_command(OUTPUT slow.cc COMMAND ${CMAKE_COMMAND} -E sleep 4
    COMMAND ${CMAKE_COMMAND} -E touch slow.cc)
  list(APPEND SOURCES ${CMAKE_CURRENT_BINARY_DIR}/slow.cc)
endif()
add_library(tvm_runtime SHARED ${SOURCES} src/support/libinfo.cc)
target_include_directories(tvm_runtime PRIVATE include 3rdparty/dlpack/include)
set_source_files_properties(src/support/libinfo.cc PROPERTIES COMPILE_DEFINITIONS "INFO")
"""
API = """#include <dlpack/dlpack.h>
#include <dlfcn.h>
#include <string>
extern "C" {
int TVMFuncCall() { return 0; }
int TVMFuncGetGlobal() { return dlclose(dlopen(nullptr, RTLD_LAZY)); }
int TVMModLoadFromFile() { return std::string("x").size() > 2; }
const char* TVMGetLastError() { return __FILE__; }
}
"""
LIBINFO = "const char* info() { return TVM_INFO_USE_RPC TVM_INFO_USE_SORT; }\n"


def tiny_tree(folder: Path, **files: str) -> Path:
    """The tree in `folder`; `files` are more sources of the runtime: name without .cc -> text. `slow`: takes 4 s."""
    options = "\n".join(f'tvm_option({name} "about {name}" OFF)' for name in OPTIONS)
    info = ";".join(f'TVM_INFO_{name}=\\"${{{name}}}\\"' for name in OPTIONS)
    texts = {
        "CMakeLists.txt": CMAKE.replace("OPTIONS", options).replace("INFO", info),
        "cmake/config.cmake": "".join(f"set({name} OFF)\n" for name in OPTIONS),
        "include/tvm/runtime/c_runtime_api.h": "// runtime\n",
        "src/runtime/c_runtime_api.cc": API,
        "src/support/libinfo.cc": LIBINFO,
        "3rdparty/dlpack/include/dlpack/dlpack.h": "// dlpack\n",
        "3rdparty/dlpack/LICENSE": "dlpack's licence\n",
        "3rdparty/unused/LICENSE": "of what is not compiled\n",
        **{f"src/runtime/{name}.cc": text for name, text in files.items() if name != "slow"},
        **({"slow": "4 s\n"} if "slow" in files else {}),
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
