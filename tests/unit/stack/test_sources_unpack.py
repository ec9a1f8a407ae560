"""Archives: every format, and every way in which one can be broken or dangerous."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from source_trees import stack_with, whole_tree

from tvmops.digests import file_sha256
from tvmops.errors import StackError
from tvmops.stack.sources import fetch_source, unpack
from tvmops.stack.sources.tree import identity, read_entry, walk

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": lambda data: data,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": zstandard.compress,
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sources"


def make_archive(folder: Path, path: Path, top: str = "tvm-1.0") -> Path:
    """An archive of `folder`, its format by `path`'s name; all in the folder `top` ("": at its top)."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in sorted(walk(folder)):
                packed.write(folder / name, f"{top}/{name}" if top else name)
        return path
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        if top:
            tar.add(folder, top)
        else:
            for item in sorted(folder.iterdir()):
                tar.add(item, item.name)
    path.write_bytes(PACKERS[path.name[path.name.index(".") :]](data.getvalue()))
    return path


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def assert_nothing_left(cache: Path) -> None:
    left = [path.name for path in cache.iterdir() if path.name not in ("requests", ".keep.lock")]
    assert left == []


@pytest.mark.parametrize("ending", [*PACKERS, ".zip"])
@pytest.mark.parametrize("top", ["tvm-1.0", ""])
def test_formats(tmp_path: Path, ending: str, top: str) -> None:
    folder = whole_tree(tmp_path / "tvm")
    archive = make_archive(folder, tmp_path / f"tvm{ending}", top)
    tree = fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))
    assert tree.kind == "archive"
    assert tree.identity == fetch_source(stack_with(tmp_path), str(folder)).identity
    assert os.access(tree.folder / "src/run.sh", os.X_OK)


def test_a_zip_that_is_packed_in_an_unknown_way(tmp_path: Path) -> None:
    archive = make_archive(whole_tree(tmp_path / "tvm"), tmp_path / "tvm.zip")
    # The method of every member, in the directory at the end.
    parts = archive.read_bytes().split(b"PK\x01\x02")
    archive.write_bytes(b"PK\x01\x02".join([parts[0], *(part[:6] + b"\x63\0" + part[8:] for part in parts[1:])]))
    with pytest.raises(StackError, match=r"tvm\.zip is damaged .*compression method"):
        fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))


def test_links_in_archives(tmp_path: Path) -> None:
    folder = whole_tree(tmp_path / "tvm")
    (folder / "src" / "alias.cc").symlink_to("runtime/c_runtime_api.cc")
    (folder / "src" / "same.cc").hardlink_to(folder / "src/runtime/c_runtime_api.cc")
    archive = make_archive(folder, tmp_path / "tvm.tar.gz")
    tree = fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))
    assert (tree.folder / "src/alias.cc").readlink() == Path("runtime/c_runtime_api.cc")
    assert (tree.folder / "src/same.cc").read_text() == "// runtime\n"
    assert identity(read_entry(folder, name) for name in walk(folder)) == tree.identity


DANGEROUS: dict[str, tuple[bytes, str]] = {
    "up": (tar_of((member("../../evil"), b"x")), "unsafe path '../../evil'"),
    "inside up": (tar_of((member("a/../../evil"), b"x")), "unsafe path"),
    "absolute": (tar_of((member("/etc/evil"), b"x")), "unsafe path '/etc/evil'"),
    "link out": (tar_of((member("a", tarfile.SYMTYPE, "../../etc"), b"")), "points out of the tree, to ../../etc"),
    "absolute link": (tar_of((member("a", tarfile.SYMTYPE, "/etc/passwd"), b"")), "points out of the tree"),
    "through a link": (
        tar_of((member("a", tarfile.SYMTYPE, "b"), b""), (member("a/evil"), b"x")),
        "a/evil, whose folder a is a link",
    ),
    "before its link": (
        tar_of((member("a/evil"), b"x"), (member("a", tarfile.SYMTYPE, "b"), b"")),
        "holds a twice, as a link and otherwise",
    ),
    "hard link out": (tar_of((member("a", tarfile.LNKTYPE, "/etc/passwd"), b"")), "unsafe path '/etc/passwd'"),
    "hard link to nothing": (tar_of((member("a", tarfile.LNKTYPE, "b"), b"")), "a link to b, which it does not hold"),
    "device": (tar_of((member("dev/sda", tarfile.BLKTYPE), b"")), "dev/sda, a device or pipe"),
    "pipe": (tar_of((member("p", tarfile.FIFOTYPE), b"")), "p, a device or pipe"),
    "nothing": (tar_of(), "holds no files"),
    "no archive": (b"<html>Not found</html>" * 100, "is damaged or truncated"),
}


@pytest.mark.parametrize("what", DANGEROUS)
def test_dangerous_archives(tmp_path: Path, cache: Path, what: str) -> None:
    content, words = DANGEROUS[what]
    archive = tmp_path / "evil.tar.gz"
    archive.write_bytes(gzip.compress(content))
    with pytest.raises(StackError) as raised:
        fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))
    assert words in raised.value.message
    assert "evil.tar.gz" in raised.value.message
    assert raised.value.hint
    assert_nothing_left(cache)
    assert not (tmp_path / "evil").exists()


def test_dangerous_zips(tmp_path: Path, cache: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for name, content, words in (("../evil", b"x", "unsafe path"), (link, b"/etc/passwd", "points out of the tree")):
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
            packed.writestr(name, content)
        with pytest.raises(StackError, match=words):
            fetch_source(stack_with(tmp_path), str(tmp_path / "evil.zip"), sha256=file_sha256(tmp_path / "evil.zip"))
        assert_nothing_left(cache)


@pytest.mark.parametrize("ending", [*PACKERS, ".zip"])
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_truncated_archives(tmp_path: Path, cache: Path, ending: str, share: float) -> None:
    folder = whole_tree(tmp_path / "tvm")
    (folder / "src" / "noise.bin").write_bytes(os.urandom(100_000))
    archive = make_archive(folder, tmp_path / f"tvm{ending}")
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    if ending == ".tar" and share > 0.9:
        archive.write_bytes(data.rstrip(b"\0")[:-1000])
    with pytest.raises(StackError, match="is damaged or truncated"):
        fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))
    assert_nothing_left(cache)


def test_bombs(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_BYTES", 4 << 20)
    zeros = b"\0" * (16 << 20)
    behind = gzip.compress(tar_of((member("a"), b"x")) + zeros)  # more of the stream than the archive in it
    for content in (gzip.compress(tar_of((member("a"), zeros))), behind):
        archive = tmp_path / "bomb.tar.gz"
        archive.write_bytes(content)
        assert archive.stat().st_size < 200_000
        with pytest.raises(StackError, match="unpacks to more than 4 MiB"):
            fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))
        assert_nothing_left(cache)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MAX_MEMBERS", 10)
    archive = tmp_path / "many.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(*((member(f"f{number}"), b"") for number in range(11)))))
    with pytest.raises(StackError, match="more than 10 members"):
        fetch_source(stack_with(tmp_path), str(archive), sha256=file_sha256(archive))


def test_a_path_twice_is_the_last_one(tmp_path: Path) -> None:
    archive = tmp_path / "twice.tar"
    archive.write_bytes(tar_of((member("a"), b"first"), (member("a"), b"second")))
    unpack.unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"second"
