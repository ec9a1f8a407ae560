"""Whether a folder is a TVM source tree, and what of it is missing (failure B09: empty submodule folders)."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import StackError
from tvmops.stack.cmake import is_on
from tvmops.stack.sources.tree import SourceTree

# Submodules that only builds with these options read; every other one is needed always.
ONLY_FOR: dict[str, tuple[str, ...]] = {
    "3rdparty/OpenCL-Headers": ("USE_OPENCL", "USE_CLML"),
    "3rdparty/cnpy": ("USE_CUDA", "USE_ROCM"),
    "3rdparty/cutlass": ("USE_CUTLASS",),
    "3rdparty/cutlass_fpA_intB_gemm": ("USE_CUTLASS",),
    "3rdparty/flashinfer": ("USE_FLASHINFER",),
    "3rdparty/libbacktrace": ("USE_LIBBACKTRACE",),
    "3rdparty/libflash_attn": ("USE_CUTLASS",),
    "3rdparty/vta-hw": ("USE_VTA_FSIM", "USE_VTA_TSIM", "USE_VTA_FPGA"),
}
# Submodules that the compiler needs and the runtime does not.
ONLY_FULL = ("3rdparty/rang",)
# Where a tree has no .gitmodules (a wheel's has none), CMakeLists.txt names these.
ALWAYS = ("3rdparty/dlpack", "3rdparty/dmlc-core", "3rdparty/tvm-ffi")
COMPILER_HEADERS = ("include/tvm/ir", "include/tvm/ir.h")


@dataclass(frozen=True)
class Findings:
    """What `inspect` found: whether the compiler can be built, and the submodules that are not there."""

    complete: bool
    absent: tuple[str, ...]


def inspect(folder: Path, origin: str) -> Findings:
    """Look a fetched tree over. Raises StackError when it is no TVM tree, or lacks what every build needs."""
    listing = folder / "CMakeLists.txt"
    text = listing.read_text(encoding="utf-8", errors="replace") if listing.is_file() else ""
    if not re.search(r"project\s*\(\s*tvm\b", text, re.IGNORECASE) or not (folder / "src" / "runtime").is_dir():
        raise StackError(
            f"{origin} is no source tree of TVM: it has no {'src/runtime' if text else 'CMakeLists.txt'} of TVM's",
            "name the folder or archive that has CMakeLists.txt, cmake/, src/ and include/ at its top",
        )
    absent = _absent(folder, text)
    needed = [path for path in absent if not _optional(path) and path not in ONLY_FULL]
    if needed:
        raise StackError(
            f"{origin} is incomplete: missing or empty {'submodule' if len(needed) == 1 else 'submodules'} "
            f"{', '.join(needed)} [B09]",
            "in a checkout: git submodule update --init --recursive; an archive that a web page makes of a tag lacks "
            "the submodules: take the release archive, or a git source",
        )
    headers = any((folder / name).exists() for name in COMPILER_HEADERS)
    return Findings(headers and not any(path in ONLY_FULL for path in absent), tuple(absent))


def lacking(tree: SourceTree, options: Mapping[str, str]) -> list[str]:
    """Why a build with these options cannot be made of the tree: a sentence for each submodule that it lacks."""
    reasons = []
    for path in tree.absent:
        asked = [name for name in _optional(path) if is_on(options.get(name, "OFF"))]
        if asked:
            reasons.append(f"{asked[0]}={options[asked[0]]} needs {path}, which {tree.origin} lacks")
    return reasons


def _absent(folder: Path, cmake: str) -> list[str]:
    """Submodules that are missing or empty, those of submodules included."""
    wanted = submodule_paths(folder)
    if not wanted:
        wanted = [path for path in ALWAYS if re.search(re.escape(path) + r"\b", cmake)]
    absent = [path for path in wanted if not _has_content(folder / path)]
    for path in wanted:
        if path not in absent and (folder / path / ".gitmodules").is_file():
            absent += [f"{path}/{inner}" for inner in _absent(folder / path, "")]
    return sorted(absent)


def submodule_paths(folder: Path) -> list[str]:
    """The paths that the .gitmodules of `folder` names; none where there is no such file."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        text = (folder / ".gitmodules").read_text(encoding="utf-8", errors="replace")
        parser.read_string(re.sub(r"(?m)^\s+", "", text))
    except (OSError, configparser.Error):
        return []
    paths = [parser.get(section, "path", fallback="") for section in parser.sections()]
    return sorted(path.strip("/") for path in paths if path and ".." not in path and not path.startswith("/"))


def _has_content(folder: Path) -> bool:
    return folder.is_dir() and any(item.name != ".git" for item in folder.iterdir())


def _optional(path: str) -> tuple[str, ...]:
    for name, options in ONLY_FOR.items():
        if path == name or path.startswith(name + "/"):
            return options
    return ()
