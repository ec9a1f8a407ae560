"""What of TVM's sources no build reads, so that builders need not get it (docs/sources.md)."""

from __future__ import annotations

import fnmatch

# The names of folders and files that are made, not written; wherever they are.
MADE = (".git", ".svn", "__pycache__", ".pytest_cache", ".mypy_cache", ".cache", ".venv", "node_modules", ".DS_Store")
MADE_ENDINGS = (".pyc", ".pyo", ".o", ".so", ".dylib", ".dll")

# Folders at the top of the tree and of its submodules; `tests` without what USE_GTEST compiles.
UNREAD = (
    ".github",
    "ci",
    "docker",
    "docs",
    "gallery",
    "tutorials",
    "tests/lint",
    "tests/micro",
    "tests/nightly",
    "tests/python",
    "tests/scripts",
    "3rdparty/cutlass/docs",
    "3rdparty/cutlass/examples",
    "3rdparty/cutlass/media",
    "3rdparty/cutlass/python",
    "3rdparty/cutlass/test",
    "3rdparty/*/cutlass/docs",
    "3rdparty/*/cutlass/examples",
    "3rdparty/*/cutlass/media",
    "3rdparty/*/cutlass/python",
    "3rdparty/*/cutlass/test",
    "3rdparty/flashinfer/docs",
)
# Where cmake and make build, by the documentation's and people's habit; in the top folder only.
BUILT = ("build", "build-*", "build_*", "cmake-build-*")


def takes(name: str) -> bool:
    """Whether the file at the path `name` belongs to the tree."""
    parts = name.split("/")
    return takes_file(name) and all(takes_folder("/".join(parts[:count])) for count in range(1, len(parts)))


def takes_file(name: str) -> bool:
    """Whether the file at the path `name` belongs to the tree, when its folders do."""
    last = name.rpartition("/")[2]
    return last not in MADE and not last.endswith(MADE_ENDINGS)


def takes_folder(name: str) -> bool:
    """Whether anything of the folder at the path `name` belongs to the tree (asked for its parents before)."""
    last = name.rpartition("/")[2]
    if last in MADE:
        return False
    if "/" not in name and any(fnmatch.fnmatchcase(name, glob) for glob in BUILT):
        return False
    return not any(_same_folder(name, glob) for glob in UNREAD)


def _same_folder(name: str, glob: str) -> bool:
    return name.count("/") == glob.count("/") and fnmatch.fnmatchcase(name, glob)
