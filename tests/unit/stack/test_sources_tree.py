"""Source trees: the identity of their content, packing, what is left out, and what is found missing."""

from __future__ import annotations

import os
import random
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_trees import DLPACK, TREE, stack_with, whole_tree, write_tree

from tvmops.digests import file_sha256
from tvmops.errors import MissingTool, StackError
from tvmops.paths import project_root
from tvmops.stack.sources import SourceTree, fetch_source, git_program, keep, lacking
from tvmops.stack.sources.checks import inspect, submodule_paths
from tvmops.stack.sources.rules import takes
from tvmops.stack.sources.tree import Entry, identity, read_entry, walk
from tvmops.stack.sources.unpack import unpack
from tvmops.stack.spec import load_stack

SUBMODULES = """\
[submodule "dlpack"]
\tpath = 3rdparty/dlpack
\turl = https://example.com/dlpack.git
[submodule "cutlass"]
\tpath = 3rdparty/cutlass
\turl = https://example.com/cutlass.git
[submodule "odd"]
\tpath = ../elsewhere
\turl = https://example.com/odd.git
"""

_NAMES = st.lists(st.sampled_from(["a", "b", "src", "x y", "ü", "-f", "n\nl", "é.cc"]), min_size=1, max_size=4)
_CONTENT = st.one_of(st.binary(max_size=200).map(lambda data: ("file", data)), st.just(("link", b"")))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sources"


def entries(folder: Path) -> list[Entry]:
    return [read_entry(folder, name) for name in walk(folder)]


def tree_of(folder: Path) -> SourceTree:
    return SourceTree("folder", folder, folder, "", origin=str(folder))


def fill(folder: Path, files: dict[str, tuple[str, bytes]], order: list[str], executable: bool) -> None:
    folder.mkdir(parents=True)
    for name in order:
        kind, data = files[name]
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "link":
                path.symlink_to("somewhere/else")
            else:
                path.write_bytes(data)
                path.chmod(0o700 if executable and len(data) % 2 else 0o640)
        except OSError:  # a name that is a file already in this example
            continue


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(_NAMES.map("/".join), _CONTENT, min_size=1, max_size=8), st.booleans(), st.randoms())
def test_packing_and_unpacking_keep_the_identity(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, tuple[str, bytes]],
    executable: bool,
    shuffled: random.Random,
) -> None:
    work = tmp_path_factory.mktemp("tree")
    os.environ["TVMOPS_CACHE"] = str(work / "cache")
    fill(work / "one", files, sorted(files), executable)
    kept = keep.keep(tree_of(work / "one"))
    unpack(kept.archive, work / "unpacked")
    assert identity(entries(work / "unpacked")) == kept.identity == identity(entries(kept.folder))
    with tarfile.open(kept.archive) as tar:  # other programs read it, too
        assert sorted(tar.getnames()) == sorted(entry.path for entry in entries(kept.folder))
    # Made in another order and at another time, with other rights of group and others: the same, byte by byte.
    names = [entry.path for entry in entries(work / "one")]
    shuffled.shuffle(names)
    for name in names:
        (work / "two" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "one" / name, work / "two" / name, follow_symlinks=False)
        os.utime(work / "two" / name, (1, 1), follow_symlinks=False)
        if not (work / "two" / name).is_symlink():
            (work / "two" / name).chmod((work / "two" / name).stat().st_mode | 0o044)
    first = kept.archive.read_bytes()
    shutil.rmtree(work / "cache")
    again = keep.keep(tree_of(work / "two"))
    assert again.identity == kept.identity
    assert again.archive.read_bytes() == first


def test_every_part_of_a_file_counts(tmp_path: Path) -> None:
    base = [Entry("a", "f", "00", 1), Entry("b", "l", "a", 0)]
    others = [
        [Entry("a", "x", "00", 1), base[1]],
        [Entry("a", "f", "01", 1), base[1]],
        [Entry("c", "f", "00", 1), base[1]],
        [base[0], Entry("b", "l", "c", 0)],
        [base[0]],
        [base[0], Entry("b", "f", "a", 0)],
    ]
    found = {identity(one) for one in [base, *others]}
    assert len(found) == 7
    assert identity(reversed(base)) == identity(base)


def test_what_no_build_reads_stays_behind() -> None:
    left = (".git", "3rdparty/dlpack/.git/config", "docs/a.rst", "tests/python/a.py", "build/a.cc", "build-arm/x.o")
    left += ("3rdparty/cutlass/test/unit/a.cu", "3rdparty/libflash_attn/cutlass/test/a.cu", "python/tvm/a.pyc")
    left += ("libtvm.so", "src/a.o", "a/__pycache__/b", ".venv/bin/python")
    taken = ("CMakeLists.txt", "tests/cpp/a.cc", "src/docs/a.cc", "python/tvm/build_module.py", "src/build/a.cc")
    taken += (
        "3rdparty/cutlass/include/test/a.h",
        "3rdparty/libbacktrace/configure",
        "licenses/LICENSE.a",
        "builds.txt",
    )
    assert [name for name in left if takes(name)] == []
    assert [name for name in taken if not takes(name)] == []


def test_a_folder_is_kept_as_it_is_now(tmp_path: Path, cache: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    stack = stack_with(tmp_path)
    tree = fetch_source(stack, str(folder))
    assert (tree.kind, tree.commit, tree.complete, tree.origin) == ("folder", "", True, str(folder))
    assert tree.files == len(entries(folder)) and tree.archive.is_file()
    assert os.access(tree.folder / "src/run.sh", os.X_OK)
    (folder / "src/runtime/c_runtime_api.cc").write_text("// changed\n")
    assert fetch_source(stack, str(folder)).identity != tree.identity
    (folder / "src/runtime/c_runtime_api.cc").write_text(TREE["src/runtime/c_runtime_api.cc"])
    assert fetch_source(stack, str(folder)).identity == tree.identity
    assert not [path for path in cache.iterdir() if path.name.startswith((".fetching", ".packing"))]


def test_a_kept_tree_that_lost_its_archive_is_made_again(tmp_path: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    tree = fetch_source(stack_with(tmp_path), str(folder))
    tree.archive.unlink()
    assert fetch_source(stack_with(tmp_path), str(folder)) == tree
    assert tree.archive.stat().st_size == tree.packed
    tree.archive.write_bytes(b"")  # as a power cut leaves it
    assert fetch_source(stack_with(tmp_path), str(folder)).archive.stat().st_size == tree.packed
    # Of a pinned one, too.
    pinned = fetch_source(stack_with(tmp_path), str(tree.archive), sha256=file_sha256(tree.archive))
    copy = tmp_path / "copy.tar.gz"
    shutil.copy(tree.archive, copy)
    tree.archive.write_bytes(b"")
    shutil.rmtree(tree.folder)
    again = fetch_source(stack_with(tmp_path), str(copy), sha256=file_sha256(copy))
    assert again == replace(pinned, origin=str(copy))
    assert again.archive.read_bytes() == copy.read_bytes()


def test_a_checkout_that_git_cannot_read(tmp_path: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    (folder / ".git").write_text("gitdir: ../gone\n")
    with pytest.raises(StackError, match=r"has a \.git, but git cannot read it: fatal: not a git repository") as raised:
        fetch_source(stack_with(tmp_path), str(folder))
    assert "without any .git" in raised.value.hint


def test_a_git_that_would_not_read_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 2.32 git passes over GIT_CONFIG_GLOBAL, and so over mirrors, without a word."""
    old = write_tree(tmp_path / "bin", {"git.sh": "#!/bin/sh\necho git version 2.30.2\n"})
    (old / "git.sh").rename(old / "git")
    monkeypatch.setenv("PATH", f"{old}:{os.environ['PATH']}")
    with pytest.raises(MissingTool, match=r"git 2\.30\.2 is too old"):
        git_program.make_git(tmp_path, (), {})


def test_old_trees_go_when_nobody_uses_them(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "KEPT_TREES", 2)
    folder = whole_tree(tmp_path / "tvm")
    made = []
    for number in range(4):
        (folder / "number").write_text(str(number))
        made.append(fetch_source(stack_with(tmp_path), str(folder)))
        long_ago = 1_000_000 + number
        os.utime(made[-1].folder.parent, (long_ago, long_ago))
    (cache / ".packing-killed").mkdir()
    os.utime(cache / ".packing-killed", (1, 1))
    fetch_source(stack_with(tmp_path), str(whole_tree(tmp_path / "last")))
    assert [tree.archive.exists() for tree in made] == [False, False, False, True]
    assert not (cache / ".packing-killed").exists()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/passwd", "points out of the tree"),
        ("../../x", "points out of the tree"),
        ("hop/../../x", "out of the tree"),
    ],
)
def test_links_that_leave_the_tree(tmp_path: Path, target: str, words: str) -> None:
    folder = whole_tree(tmp_path / "tvm")
    (folder / "src" / "hop").symlink_to(".")
    (folder / "src" / "hop2").symlink_to(target)
    with pytest.raises(StackError, match=words):
        fetch_source(stack_with(tmp_path), str(folder))


def test_a_link_that_leaves_the_tree_through_another_link(tmp_path: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    (folder / "src" / "a" / "b").mkdir(parents=True)
    (folder / "src" / "up").symlink_to("..")
    (folder / "src" / "a" / "b" / "out").symlink_to("../../up/../up")  # text: src/up; truth: outside
    with pytest.raises(StackError, match="leads out of the tree"):
        fetch_source(stack_with(tmp_path), str(folder))


def test_pipes_are_refused(tmp_path: Path, cache: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    os.mkfifo(folder / "src" / "pipe")
    with pytest.raises(StackError, match="src/pipe is neither a file nor a symbolic link"):
        fetch_source(stack_with(tmp_path), str(folder))
    assert [path for path in cache.iterdir() if (path / "source.tar.gz").exists()] == []


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    write_tree(tmp_path / "other", {"CMakeLists.txt": "project(other)\n", "src/runtime/a.cc": ""})
    with pytest.raises(StackError, match="is no source tree of TVM"):
        fetch_source(stack_with(tmp_path), str(tmp_path / "other"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StackError, match=r"it has no CMakeLists\.txt"):
        fetch_source(stack_with(tmp_path), str(tmp_path / "empty"))


def test_empty_submodule_folders_are_found(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "tvm")
    (folder / ".gitmodules").write_text(SUBMODULES)
    (folder / "3rdparty/dlpack").mkdir(parents=True)
    assert submodule_paths(folder) == ["3rdparty/cutlass", "3rdparty/dlpack"]
    with pytest.raises(StackError, match=r"missing or empty submodule 3rdparty/dlpack \[B09\]") as raised:
        inspect(folder, "the tree")
    assert "submodule update --init --recursive" in raised.value.hint
    write_tree(folder / "3rdparty/dlpack", DLPACK)
    findings = inspect(folder, "the tree")
    assert findings.complete and findings.absent == ("3rdparty/cutlass",)
    # Without .gitmodules, too: CMakeLists.txt names dlpack.
    (folder / ".gitmodules").unlink()
    shutil.rmtree(folder / "3rdparty/dlpack")
    with pytest.raises(StackError, match="3rdparty/dlpack"):
        inspect(folder, "the tree")


def test_submodules_of_submodules_count(tmp_path: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    (folder / ".gitmodules").write_text(SUBMODULES)
    inner = '[submodule "i"]\n path = 3rdparty/lost\n url = https://example.com/i\n'
    (folder / "3rdparty/cutlass/.gitmodules").write_text(inner)
    assert inspect(folder, "it").absent == ("3rdparty/cutlass/3rdparty/lost",)
    (folder / "3rdparty/dlpack/.gitmodules").write_text(inner)
    with pytest.raises(StackError, match="3rdparty/dlpack/3rdparty/lost"):
        inspect(folder, "it")


def test_an_option_that_needs_an_absent_submodule(tmp_path: Path) -> None:
    absent = ("3rdparty/OpenCL-Headers", "3rdparty/cutlass", "3rdparty/libflash_attn/cutlass")
    tree = replace(tree_of(tmp_path), absent=absent, origin="the folder")
    assert lacking(tree, {"USE_CUTLASS": "OFF", "USE_RPC": "ON"}) == []
    reasons = lacking(tree, {"USE_OPENCL": "ON", "USE_CUTLASS": "0"})
    assert reasons == ["USE_OPENCL=ON needs 3rdparty/OpenCL-Headers, which the folder lacks"]
    assert len(lacking(tree, {"USE_CUTLASS": "/usr/cutlass"})) == 2


def test_headers_of_the_runtime_alone_do_not_make_a_compiler(tmp_path: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    shutil.rmtree(folder / "include/tvm/ir")
    assert not fetch_source(stack_with(tmp_path), str(folder)).complete


def test_sources_that_stacks_name_have_what_fetching_needs() -> None:
    for name in ("relay-0.19", "relay-0.18", "relay-0.8"):
        stack = load_stack(name)
        for source in stack.sources.values():
            overlay = source.get("overlay")
            assert not overlay or (project_root() / "stacks" / overlay).is_dir()
            assert source["kind"] in ("git", "archive", "wheel")
