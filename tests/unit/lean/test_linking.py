"""What the lean RPC server makes a library of."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import linking
import pytest


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("link.o")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return path


def test_an_archive_can_write_only_beside_itself(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    found = linking.unpacked(str(archive(folder / "lib.tar", "lib0.o", "../../evil.o", "/abs/devc.o")))
    assert [Path(one).name for one in found] == ["devc.o", "evil.o", "lib0.o"]
    assert {Path(one).parent for one in found} == {folder / "lib.tar.files"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session"]


def test_a_cut_archive_is_none(tmp_path: Path) -> None:
    path = archive(tmp_path / "lib.tar", *(f"{number}.o" for number in range(9)))
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(linking.LinkError, match=r"lib.tar is no complete tar archive"):
        linking.unpacked(str(path))


def test_other_files_are_left_as_they_are() -> None:
    assert linking.shared_library("/x/net.so") == "/x/net.so"
    assert linking.shared_library("/x/kernels.ptx") == "/x/kernels.ptx"
