"""Unpacking archives that nobody has to trust: every member is checked, sizes are limited, links are made last."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import zstandard

from tvmops.errors import StackError
from tvmops.stack.sources.tree import check_link

MAX_BYTES = 6 << 30  # TVM with all submodules is 0.3 GiB
MAX_MEMBERS = 400_000  # ... and has 20,000 files
_PIECE = 1 << 20
_BLOCK = 512  # bytes; a tar archive ends in blocks of zeros
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    gzip.BadGzipFile,
    ValueError,
    NotImplementedError,  # a .zip packed in a way that zipfile does not know
)


@dataclass
class _Unpacking:
    """One archive being unpacked into `target`; `strip` leading folders are dropped."""

    label: str
    target: Path
    strip: int
    left: int = field(default_factory=lambda: MAX_BYTES)
    members: int = 0
    links: dict[str, str] = field(default_factory=dict)
    wanted: Callable[[str], bool] = lambda _: True

    def place(self, name: str) -> str:
        """Where a member goes, "" for one that is dropped. Raises StackError for a path that leads out of the tree."""
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise StackError(f"{self.label} has more than {MAX_MEMBERS} members", "no source tree is as large")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise StackError(f"{self.label} holds the unsafe path {name!r}", "nothing of it was kept; do not use it")
        kept = [part for part in parts if part not in ("", ".")][self.strip :]
        return "/".join(kept)

    def count(self, size: int) -> None:
        """Note `size` more bytes. Raises StackError past the limit."""
        self.left -= size
        if self.left < 0:
            raise StackError(
                f"{self.label} unpacks to more than {MAX_BYTES >> 20} MiB",
                "no source tree is as large: nothing of it was kept",
            )

    def write(self, path: str, content: IO[bytes], executable: bool) -> None:
        """A file of the tree. Raises StackError past the size limit, OSError."""
        target = self.target / path
        self._check_parents(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.unlink()  # tar archives may hold a path twice; the last one counts
        self.links.pop(path, None)
        with target.open("wb") as out:
            while piece := content.read(_PIECE):
                self.count(len(piece))
                out.write(piece)
        target.chmod(0o755 if executable else 0o644)

    def link(self, path: str, linked: str) -> None:
        """Note a symbolic link; it is made by `finish`, so that no member is written through it."""
        check_link(path, linked, self.label)
        self.links[path] = linked

    def copy(self, path: str, name: str) -> None:
        """A hard link of the archive: the other member's content again."""
        source = self.place(name)
        if source in self.links:
            self.links[path] = self.links[source]
            return
        origin = self.target / source
        if not source or not origin.is_file():
            raise StackError(f"{self.label}: {path} is a link to {name}, which it does not hold", "it is damaged")
        with origin.open("rb") as content:
            self.write(path, content, bool(origin.stat().st_mode & stat.S_IXUSR))

    def finish(self) -> None:
        """Make the symbolic links. Raises StackError where a file stands in the way, OSError."""
        for path, linked in self.links.items():
            self._check_parents(path)
            target = self.target / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                raise StackError(f"{self.label} holds {path} twice, as a link and otherwise", "do not use it")
            target.symlink_to(linked)

    def _check_parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        while parent:
            if parent in self.links:
                raise StackError(
                    f"{self.label} holds {path}, whose folder {parent} is a link",
                    "nothing of it was kept; do not use it",
                )
            parent = posixpath.dirname(parent)


def unpack(archive: Path, target: Path, strip: int = 0, wanted: Callable[[str], bool] | None = None) -> None:
    """Unpack a .tar, .tar.gz, .tar.bz2, .tar.xz, .tar.zst or .zip (a wheel, too) into the new folder `target`.

    Of a .zip, members that are not `wanted` are checked and left out. Raises StackError for a damaged or unsafe
    archive, OSError when the disk is full; the caller removes `target` then.
    """
    work = _Unpacking(archive.name, target, strip)
    if wanted is not None:
        work.wanted = wanted
    target.mkdir(parents=True)
    try:
        if _magic(archive).startswith(b"PK"):
            _unpack_zip(archive, work)
        else:
            with _decompressed(archive) as stream:
                _unpack_tar(stream, work)
        work.finish()
    except _DAMAGED as error:
        raise StackError(
            f"{work.label} is damaged or truncated: {error}", "fetch it again, or look whether it is complete"
        ) from None
    if not any(target.iterdir()):
        raise StackError(f"{work.label} holds no files", f"it was unpacked without its first {strip} folders")


class _Watched:
    """A tar stream that remembers its end: tarfile takes one that breaks off between two members for a whole one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.end = b""

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.end = (self.end + piece)[-_BLOCK:]
        return piece


def _unpack_tar(packed: IO[bytes], work: _Unpacking) -> None:
    stream = _Watched(packed)
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
        for member in tar:
            path = work.place(member.name)
            if member.isdir() or not path:
                continue
            if member.issym():
                work.link(path, member.linkname)
            elif member.islnk():
                work.copy(path, member.linkname)
            elif member.isreg():
                content = tar.extractfile(member)
                assert content is not None
                work.write(path, content, bool(member.mode & stat.S_IXUSR))
            else:
                raise StackError(f"{work.label} holds {member.name}, a device or pipe", "do not use it")
    while piece := stream.read(_PIECE):
        work.count(len(piece))
    if stream.end != bytes(_BLOCK):
        raise EOFError("the mark of its end is missing")


def _unpack_zip(archive: Path, work: _Unpacking) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            path = work.place(member.filename)
            mode = member.external_attr >> 16
            if member.is_dir() or not path or not work.wanted(path):
                continue
            if member.flag_bits & 1:
                raise StackError(f"{work.label} is encrypted", "sources are taken from open archives only")
            if stat.S_ISLNK(mode):
                work.link(path, packed.read(member).decode("utf-8", "surrogateescape"))
            elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
                with packed.open(member) as content:
                    work.write(path, content, bool(mode & stat.S_IXUSR))
            else:
                raise StackError(f"{work.label} holds {member.filename}, a device or pipe", "do not use it")


def _magic(archive: Path) -> bytes:
    with archive.open("rb") as handle:
        return handle.read(8)


def _opened(archive: Path) -> IO[bytes]:
    """The archive's tar stream, by the first bytes of the file: names lie."""
    magic = _magic(archive)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(archive))
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(archive)
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(archive)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return cast(IO[bytes], zstandard.open(archive, "rb"))
    return archive.open("rb")


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    with _opened(archive) as stream:
        yield stream
