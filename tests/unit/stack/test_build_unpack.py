"""Sources unpacked for a build: only what differs is written, and nothing outside of their folder."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import faults
import pytest
import sources


def packed(path: Path, members: dict[str, Any]) -> Path:
    """An archive: bytes are files, text is where a link leads, None a folder, a TarInfo itself."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                continue
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            elif content is None:
                member.type = tarfile.DIRTYPE
            tar.addfile(member)
    return path


def unpack(archive: Path, target: Path, wanted: str = "") -> bool:
    return bool(sources.unpack(str(archive), str(target), wanted, lambda _text: None))


def tree(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.name != sources.MARKER
    }


def test_only_what_differs_is_written_again(tmp_path: Path) -> None:
    target = tmp_path / "src"
    first = packed(tmp_path / "1.tar.gz", {"d": None, "d/same": b"a", "d/other": b"b", "old/x": b"", "link": "d/same"})
    assert unpack(first, target)
    assert not unpack(first, target)
    before = {name: (target / name).stat() for name in ("d/same", "d/other")}
    second = packed(tmp_path / "2.tar.gz", {"d/same": b"a", "d/other": b"c", "new": b"n", "link": "new"})
    assert unpack(second, target)
    assert tree(target) == {"d/same": b"a", "d/other": b"c", "new": b"n", "link": "new"}
    assert (target / "d/same").stat().st_mtime_ns == before["d/same"].st_mtime_ns
    assert (target / "d/other").stat().st_mtime_ns > before["d/other"].st_mtime_ns


def test_an_interrupted_unpacking_is_gone_on_with(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", {"a": b"a", "b": b"bb", "e/f": b"f"})
    target = tmp_path / "src"
    target.mkdir()
    (target / "a").write_bytes(b"a")
    (target / "b").write_bytes(b"b")
    (target / "b.tvmops-new").write_bytes(b"half")
    assert unpack(archive, target)
    assert tree(target) == {"a": b"a", "b": b"bb", "e/f": b"f"}


def test_kinds_change_places(tmp_path: Path) -> None:
    target = tmp_path / "src"
    assert unpack(packed(tmp_path / "1.tar.gz", {"x/y": b"1", "z": b"2", "l": "z"}), target)
    assert unpack(packed(tmp_path / "2.tar.gz", {"x": b"3", "z/y": b"4", "l": b"5"}), target)
    assert tree(target) == {"x": b"3", "z/y": b"4", "l": b"5"}


def device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


def hard_link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.LNKTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../x": b""}, "outside of its folder: ../x"),
        ({"a/../../x": b""}, "outside of its folder"),
        ({"/etc/x": b""}, "outside of its folder: /etc/x"),
        ({"a": "/etc/passwd"}, "leads out of it: a -> /etc/passwd"),
        ({"d/a": "../../x"}, "leads out of it"),
        ({"dev": device("dev")}, "neither file, folder nor symbolic link: dev"),
        ({"hard": hard_link("hard")}, "neither file, folder nor symbolic link: hard"),
    ],
)
def test_archives_that_reach_out_are_refused(tmp_path: Path, members: dict[str, Any], said: str) -> None:
    archive = packed(tmp_path / "bad.tar.gz", members)
    with pytest.raises(faults.BuildFault, match="archive") as refused:
        unpack(archive, tmp_path / "inside" / "src")
    assert said in refused.value.message
    assert not (tmp_path / "x").exists() and not (tmp_path / "inside" / "x").exists()


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", {"a": os.urandom(100000)})
    with pytest.raises(faults.BuildFault, match="has the SHA-256"):
        unpack(archive, tmp_path / "src", "0" * 64)
    archive.write_bytes(archive.read_bytes()[:50000])
    with pytest.raises(faults.BuildFault, match="cannot be read"):
        unpack(archive, tmp_path / "src")
    with pytest.raises(faults.BuildFault, match="there is no file"):
        unpack(tmp_path / "none", tmp_path / "src")
