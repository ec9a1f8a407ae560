"""The catalogue of failed builds: every entry is found by what tools really say, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.stack.catalogue import diagnose, failures, read_failures

# Texts of compilers, linkers, CMake and the build program, each with its line of noise before.
LOGS = {
    "B01": """CMake Error at cmake/utils/FindLLVM.cmake:47 (find_package):
  Could not find a package configuration file provided by "LLVM" with any of
  the following names:""",
    "B02": "llvm/codegen_llvm.cc:12:3: error: no matching function for call to 'llvm::DIBuilder::GetDebugType(int)'",
    "B03": "src/target/llvm/llvm_module.cc:30:13: error: 'x86' is not a namespace-name",
    "B04": "codegen_cpu.cc:11:1: error: 'toSPFlags' is not a member of 'llvm::DISubprogram'",
    "B05": "CMake took LLVM 150 instead of 13.0.1",
    "B06": """CMake Error at CMakeLists.txt:1 (cmake_minimum_required):
  CMake 3.18 or higher is required.  You are running version 3.10.2""",
    "B07": "CUDA_STANDARD is set to invalid value '17'",
    "B08": 'CMake Error at CMakeLists.txt:9 (cmake_path):\n  Unknown CMake command "cmake_path".',
    "B09": "/s/include/tvm/runtime/logging.h:4:10: fatal error: dmlc/common.h: No such file or directory",
    "B10": "dlpack.h:69:3: error: redefinition of 'kDLVulkan'",
    "B11": "c++: internal compiler error: Killed (program cc1plus)",
    "B12": "swapon: /mnt/swapfile: swapon failed: Device or resource busy",
    "B13": "/usr/bin/ld: cannot find -ltinfo: No such file or directory",
    "B14": "/usr/bin/ld: cannot find -lzstd",
    "B15": ": CommandLine Error: Option 'debug-pass' registered more than once!",
    "B16": "what was built is not what was asked for: USE_OPENCL is OFF, asked for was ON",
    "B17": "Could NOT find OpenCL (missing: OpenCL_LIBRARY)",
    "B18": "warning: refname 'v0.9.0' is ambiguous.",
    "B19": "make: warning:  Clock skew detected.  Your build may be incomplete.",
    "B20": "/tmp/cc1.s: final close failed: No space left on device",
    "B21": "g++: error: unrecognized command line option '-std=c++17'",
    "B22": "CMake Error at CMakeLists.txt:1:\n  Compatibility with CMake < 3.5 has been removed from CMake.",
    "T08": "/usr/bin/ld: libx.so: error adding symbols: file in wrong format",
    "T09": "/bin/sh: 1: ./gen: Exec format error",
    "T10": "/usr/bin/ld: error: a.o uses VFP register arguments, libx.so does not",
    "T11": "./gen: /lib/libm.so.6: version `GLIBC_2.29' not found (required by ./gen)",
    "T12": "rpc.cc:(.text+0x20): undefined reference to `pthread_create'",
}
NOISE = """-- Build files have been written to: /w/build
[1/9] Building CXX object CMakeFiles/objs.dir/src/error.cc.o
src/a.cc:1:1: warning: 'void kill()' defined but not used [-Wunused-function]
-- Performing Test SUPPORT_CXX17 - Failed
-- Found the path to ccache, enabling ccache
[9/9] Linking CXX shared library libtvm_runtime.so
"""


def test_every_entry_has_a_text() -> None:
    assert set(LOGS) == set(failures())


@pytest.mark.parametrize("name", LOGS)
def test_each_is_found_by_what_is_said(name: str) -> None:
    found = diagnose(NOISE + LOGS[name] + "\nninja: build stopped: subcommand failed.\n")
    assert found is not None
    assert (found.id, found.cause, found.fix) == (name, failures()[name].cause, failures()[name].fix)
    assert found.line in LOGS[name]


def test_the_first_line_decides() -> None:
    found = diagnose([LOGS["T08"], LOGS["B11"]])
    assert found is not None
    assert str(found).startswith("T08: A library of another architecture: ")


def test_quotes_of_other_locales_are_understood() -> None:
    assert diagnose(LOGS["B10"].replace("'kDLVulkan'", "\u2018kDLVulkan\u2019")) is not None
    found = diagnose(LOGS["B04"].replace("'toSPFlags'", "\u2018toSPFlags\u2019"))
    assert found is not None and found.id == "B04"


def test_what_goes_well_or_is_unknown_is_not_diagnosed() -> None:
    assert diagnose(NOISE) is None
    assert diagnose("a.cc:1:1: error: 'x' was not declared in this scope") is None


def test_faults_of_the_file_are_told_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "failures.yml"
    path.write_text("X1:\n  title: t\n  cause: ''\n  fix: f\n  action: ''\n  patterns: ['(']\n  more: 1\nX2: text\n")
    with pytest.raises(ConfigErrors) as found:
        read_failures(path)
    text = str(found.value)
    for place, said in (("7:3", "unknown key 'more'"), ("3:10", "'cause' must be text"), ("6:14", "no regular expr")):
        assert f"{path}:{place}: X1" in text and said in text
    assert "X2 must have" in text
    path.write_text("- a\n")
    with pytest.raises(ConfigError, match="maps ids"):
        read_failures(path)
