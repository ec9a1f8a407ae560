"""unarchive through a real agent: every format, what it repairs, and the archives it refuses."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

MTIME = 1_700_000_000
FORMATS = ["w", "w:gz", "w:xz", "w:bz2", "zip"]
Entry = tuple[str, Any]


def tar(entries: list[Entry], mode: str = "w:gz") -> bytes:
    """An archive of files (bytes), directories (None), links ("-> target"), hard links ("= name") and devices."""
    buffer = io.BytesIO()
    # tarfile's overloads know only literal modes.
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, what in entries:
            info = tarfile.TarInfo(name)
            info.mtime, info.mode, info.uid, info.gid = MTIME, 0o644, os.getuid(), os.getgid()
            if what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
            elif isinstance(what, str) and what.startswith("-> "):
                info.type, info.linkname = tarfile.SYMTYPE, what[3:]
            elif isinstance(what, str) and what.startswith("= "):
                info.type, info.linkname = tarfile.LNKTYPE, what[2:]
            elif what == "device":
                info.type = tarfile.CHRTYPE
            else:
                info.size = len(what)
            archive.addfile(info, io.BytesIO(what if isinstance(what, bytes) else b""))
    return buffer.getvalue()


def zipped(entries: list[Entry]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, what in entries:
            info = zipfile.ZipInfo(name + ("/" if what is None else ""), (2023, 11, 14, 22, 13, 20))
            mode = 0o100640
            if what is None:
                mode = 0o40750
            elif isinstance(what, str):
                mode = 0o120777
            info.external_attr = mode << 16
            archive.writestr(info, what.removeprefix("-> ") if isinstance(what, str) else what or b"")
    return buffer.getvalue()


def unarchive(board: Driver, data: bytes, dest: Path, **more: Any) -> dict[str, Any]:
    args = {"src": "a", "dest": str(dest), "_blob": board.blob(data), **more}
    check = args.pop("check", False)
    return board.task("unarchive", args, check=check, diff=True)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_unpacks_once_and_repairs_what_differs(board: Driver, tmp_path: Path, kind: str) -> None:
    entries: list[Entry] = [("d", None), ("./d/f", b"content" * 10_000), ("g", b""), ("l", "-> d/f")]
    data = zipped(entries) if kind == "zip" else tar([*entries, ("h", "= d/f")], kind)
    assert unarchive(board, data, tmp_path, check=True)["changed"]
    assert tree(tmp_path) == []
    result = unarchive(board, data, tmp_path, list_files=True)
    assert result["changed"]
    assert result["files"][:2] == ["d/", "d/f"]
    assert not unarchive(board, data, tmp_path)["changed"]
    assert (tmp_path / "l").read_bytes() == b"content" * 10_000
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o750

    def damage_content() -> None:
        (tmp_path / "d/f").write_bytes(b"other")

    def damage_mode() -> None:
        (tmp_path / "d/f").chmod(0o777)

    def damage_link() -> None:
        (tmp_path / "l").unlink()
        (tmp_path / "l").symlink_to("g")

    def remove() -> None:
        (tmp_path / "g").unlink()

    for damage in (damage_content, damage_mode, damage_link, remove):
        damage()
        repaired = unarchive(board, data, tmp_path)
        assert (repaired["changed"], repaired["failed"]) == (True, False), damage
        assert not unarchive(board, data, tmp_path)["changed"]
        assert (tmp_path / "l").read_bytes() == b"content" * 10_000


@pytest.mark.parametrize(
    "entries",
    [
        [("/abs", b"x")],
        [("../up", b"x")],
        [("a/../../up", b"x")],
        [("l", "-> /etc/passwd")],
        [("l", "-> ../up")],
        [("d/l", "-> ../../up")],
        [("x/y/l", "-> .."), ("m", "-> x/y/l/../.."), ("m/up", b"x")],
        [("a", "-> b"), ("b", "-> a")],
        [("h", "= /etc/passwd")],
        [("h", "= ../up")],
        [("dev", "device")],
    ],
)
def test_dangerous_archives_are_refused_before_anything_is_written(
    board: Driver, tmp_path: Path, entries: list[Entry]
) -> None:
    dest = tmp_path / "dest"
    dest.mkdir()
    result = unarchive(board, tar([("first", b"x"), *entries]), dest)
    assert result["failed"]
    assert "archive is refused" in result["msg"]
    assert tree(tmp_path) == ["dest"]


def test_dangerous_zips_are_refused(board: Driver, tmp_path: Path) -> None:
    for entry in (("../up", b"x"), ("l", "-> ../up")):
        assert "archive is refused" in unarchive(board, zipped([entry]), tmp_path)["msg"]
    assert tree(tmp_path) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_archives_are_refused(board: Driver, tmp_path: Path, kind: str) -> None:
    entries: list[Entry] = [("f", os.urandom(100_000)), ("g", os.urandom(100_000))]
    data = zipped(entries) if kind == "zip" else tar(entries, kind)
    result = unarchive(board, data[:-120_000], tmp_path)
    assert result["failed"]
    assert "exception" not in result
    assert tree(tmp_path) == []
    assert "not a tar or zip archive" in unarchive(board, b"no archive at all", tmp_path)["msg"]


def test_creates_include_exclude_and_mode(board: Driver, tmp_path: Path) -> None:
    data = tar([("bin/a", b"a"), ("bin/b", b"b"), ("doc/c", b"c")])
    result = unarchive(board, data, tmp_path, exclude=["doc"], mode="u=rwx,go=rx")
    assert result["changed"]
    assert tree(tmp_path) == ["bin", "bin/a", "bin/b"]
    assert (tmp_path / "bin/a").stat().st_mode & 0o777 == 0o755
    unarchive(board, data, tmp_path, include=["doc/*"])
    assert (tmp_path / "doc/c").exists()
    needs = len([event for event in board.events if event["ev"] == "need"])
    skipped = unarchive(board, tar([("z", b"z")]), tmp_path, creates=f"{tmp_path}/bin/a")
    assert (skipped["skipped"], skipped["changed"]) == (True, False)
    assert len([event for event in board.events if event["ev"] == "need"]) == needs, "not even sent"


def test_remote_src_and_missing_destination(board: Driver, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar([("f", b"x")], "w"))
    args = {"src": str(tmp_path / "a.tar"), "dest": str(tmp_path / "no"), "remote_src": True}
    assert "existing directory" in board.task("unarchive", args)["msg"]
    assert "existing directory" in board.task("unarchive", args, check=True)["msg"]
    made = {"module": "file", "args": {"path": args["dest"], "state": "directory"}}
    unpack = {"module": "unarchive", "args": args}
    look = {"module": "stat", "args": {"path": f"{tmp_path}/no/f"}}
    first, second, third = board.batch([made, unpack, look], check=True)
    assert (first["changed"], second["changed"], third["stat"]["size"]) == (True, True, 1)
    assert not (tmp_path / "no").exists()
    assert board.task("unarchive", {**args, "dest": str(tmp_path)})["changed"]
    assert "get_url" in board.task("unarchive", {**args, "dest": "/", "src": "https://example.org/a.tar"})["msg"]


def test_a_path_that_is_in_the_archive_twice(board: Driver, tmp_path: Path) -> None:
    data = tar([("f", b"first"), ("f", b"second!")])
    assert unarchive(board, data, tmp_path)["changed"]
    assert (tmp_path / "f").read_text() == "second!"
    assert not unarchive(board, data, tmp_path)["changed"]


def test_names_that_are_not_utf8_are_unpacked_and_shown_safely(board: Driver, tmp_path: Path) -> None:
    result = unarchive(board, tar([("caf\udce9", b"x")]), tmp_path, list_files=True)
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"caf\xe9"]
    assert result["files"] == ["caf?"]
    assert not unarchive(board, tar([("caf\udce9", b"x")]), tmp_path)["changed"]


def test_a_known_archive_is_not_sent_again(board: Driver, tmp_path: Path) -> None:
    blob = board.blob(tar([("lib/one", b"1" * 9000), ("lib/two", b"2")]))
    args = {"src": "a.tgz", "dest": str(tmp_path), "_blob": blob}
    assert board.task("unarchive", args)["changed"]

    def needs() -> int:
        return sum(event["ev"] == "need" for event in board.events)

    sent = needs()
    assert sent >= 1
    again = board.task("unarchive", {**args, "list_files": True})
    assert (again["changed"], again["files"], needs()) == (False, ["lib/one", "lib/two"], sent)
    with_run = board.batch([{"module": "unarchive", "args": args}], run="archive-again")
    assert (with_run[0]["changed"], needs()) == (False, sent)
    (tmp_path / "lib/one").write_bytes(b"other")
    assert board.task("unarchive", args)["changed"]
    assert (tmp_path / "lib/one").read_bytes() == b"1" * 9000
