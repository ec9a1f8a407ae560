"""Artifacts: the runtime part of a stack for one ABI, packed, described by its manifest and named by its content."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from tvmops.errors import StackError

COMPRESSION = 6  # of gzip
ZSTD_LEVEL = 12
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Artifact:
    """A packed artifact. `key` names its content, `size` is the archive's in bytes, `manifest` lists all files."""

    key: str
    path: Path
    size: int
    manifest: dict[str, Any]

    @property
    def unpacked_size(self) -> int:
        """Bytes of all files on the board."""
        return sum(int(entry["size"]) for entry in self.manifest["files"].values())


def manifest_key(manifest: dict[str, Any]) -> str:
    """The name of an artifact with this manifest: the first 16 hex digits of its SHA-256."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def version_file(manifest: dict[str, Any], key: str) -> bytes:
    """The VERSION file of a release: what people and scripts read without parsing the manifest."""
    lines = [f"{name}={manifest[name]}" for name in ("part", "stack", "api", "tvm", "arch", "python", "glibc")]
    lines += [f"key={key}"]
    lines += [f"package={package['name']}=={package['version']}" for package in manifest["packages"]]
    return ("\n".join(lines) + "\n").encode()


def read_version_file(text: str) -> dict[str, str]:
    """The single-valued fields of a release's VERSION file: part, stack, api, tvm, arch, python, glibc, key."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, separator, value in pairs if separator and name != "package"}


def write_archive(out: IO[bytes], contents: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> None:
    """A tar.gz of `contents` that is the same bytes every time: sorted, owned by root, dated 1970; see write_tar."""
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=COMPRESSION, mtime=0) as packed:
        write_tar(cast(IO[bytes], packed), contents, modes)


def write_zst(out: IO[bytes], contents: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> None:
    """As write_archive, compressed with zstd."""
    import zstandard  # deferred: commands that pack nothing start without it

    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    with compressor.stream_writer(out, closefd=False) as packed:
        write_tar(packed, contents, modes)


def write_tar(out: IO[bytes], contents: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> None:
    """A tar that is the same bytes every time; files not named in `modes` get 0644."""
    folders = sorted({str(parent) for name in contents for parent in PurePosixPath(name).parents} - {"."})
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for name in folders:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, data in sorted(contents.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), (modes or {}).get(name, 0o644)
            tar.addfile(member, io.BytesIO(data))


def read_archive(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """(name, mode, content) of each file in a tar.gz or tar.zst.

    Raises StackError for a damaged archive, and for one with links or with paths that leave its folder.
    """
    import zstandard

    try:
        with path.open("rb") as raw, _decompressed(raw) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                if member.isdir():
                    continue
                parts = PurePosixPath(member.name).parts
                if not member.isfile() or ".." in parts or PurePosixPath(member.name).is_absolute():
                    raise StackError(f"{path}: {member.name} is a link or leaves its folder", "do not use this archive")
                stream = tar.extractfile(member)
                assert stream is not None
                yield str(PurePosixPath(*parts)), member.mode & 0o777, stream.read()
            while plain.read(1 << 20):
                pass  # what follows the last member has the checksums
    except FileNotFoundError:
        raise
    except (tarfile.TarError, zstandard.ZstdError, zlib.error, EOFError, OSError) as error:
        raise StackError(f"{path} cannot be read: {error}", "remove it, then build or fetch it again") from error


@contextmanager
def _decompressed(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    import zstandard

    magic = raw.read(4)
    raw.seek(0)
    if magic == ZSTD_MAGIC:
        with zstandard.ZstdDecompressor().stream_reader(raw) as plain:
            yield plain
    else:
        with gzip.GzipFile(fileobj=raw) as plain_gzip:
            yield cast(IO[bytes], plain_gzip)
