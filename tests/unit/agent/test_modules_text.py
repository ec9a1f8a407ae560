"""blockinfile, replace, slurp, find and tempfile, through a real agent."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PYENV = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
PYTHONS = [str(path) for path in PYENV if path.parent.parent.name.split(".")[1] not in ("0", "1", "2", "3", "4")]
BLOCK = "# BEGIN ANSIBLE MANAGED BLOCK\n{}# END ANSIBLE MANAGED BLOCK\n"


def converge(board: Driver, module: str, args: dict[str, Any]) -> dict[str, Any]:
    """Check predicts the change and its diff and makes none, apply makes it, again changes nothing."""
    path = Path(args["path"])
    before = path.read_bytes() if path.exists() else None
    predicted = board.task(module, args, check=True, diff=True)
    assert (path.read_bytes() if path.exists() else None) == before
    applied = board.task(module, args, diff=True)
    assert not applied["failed"], applied
    assert predicted["changed"] == applied["changed"]
    assert predicted.get("diff") == applied.get("diff")
    again = board.task(module, args)
    assert not again["changed"], again
    return applied


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


class TestBlockinfile:
    def block(self, board: Driver, path: Path, **args: Any) -> dict[str, Any]:
        return converge(board, "blockinfile", {"path": str(path), **args})

    def test_a_block_comes_changes_and_goes(self, board: Driver, path: Path) -> None:
        path.write_text("one\ntwo")
        done = self.block(board, path, block="a\nb")
        assert (done["changed"], done["msg"]) == (True, "Block inserted")
        assert path.read_text() == "one\ntwo\n" + BLOCK.format("a\nb\n")
        assert "+" not in done["diff"][0]["before"]
        assert done["diff"][0]["after"] == path.read_text()
        path.write_text(path.read_text() + "three\n")
        self.block(board, path, block="c\n")
        assert path.read_text() == "one\ntwo\n" + BLOCK.format("c\n") + "three\n"
        assert self.block(board, path, state="absent")["msg"] == "Block removed"
        assert path.read_text() == "one\ntwo\nthree\n"
        assert not self.block(board, path, block="")["changed"]

    @pytest.mark.parametrize(
        ("args", "after"),
        [
            ({"insertafter": "^b"}, "a\nb\nB1\nab\n"),
            ({"insertafter": "b$"}, "a\nb\nab\nB1\n"),
            ({"insertbefore": "b"}, "a\nb\nB1\nab\n"),
            ({"insertbefore": "BOF"}, "B1\na\nb\nab\n"),
            ({"insertafter": "EOF"}, "a\nb\nab\nB1\n"),
            ({"insertbefore": "nowhere"}, "a\nb\nab\nB1\n"),
            ({"insertbefore": "(?m)^b\\nab"}, "a\nB1\nb\nab\n"),
            ({"insertafter": "BOF"}, "a\nb\nab\nB1\n"),
        ],
    )
    def test_places(self, board: Driver, path: Path, args: dict[str, str], after: str) -> None:
        path.write_text("a\nb\nab\n")
        self.block(board, path, block="1", marker="{mark}", marker_begin="B", marker_end="E", **args)
        assert path.read_text() == after.replace("B1", "B\n1\nE")

    def test_blank_lines_around(self, board: Driver, path: Path) -> None:
        path.write_text("a\nb\n")
        self.block(board, path, block="x", insertafter="a", prepend_newline=True, append_newline=True)
        assert path.read_text() == "a\n\n" + BLOCK.format("x\n") + "\nb\n"

    def test_an_end_marker_without_a_newline_is_one(self, board: Driver, path: Path) -> None:
        path.write_text(BLOCK.format("old\n").rstrip("\n"))
        self.block(board, path, block="new")
        assert path.read_text() == BLOCK.format("new\n")

    def test_new_files(self, board: Driver, path: Path) -> None:
        missing = {"path": str(path), "block": "x"}
        for check in (True, False):
            result = board.task("blockinfile", missing, check=check)
            assert (result["failed"], result["rc"]) == (True, 257)
            assert "create: true" in result["msg"]
        deep = path.parent / "d" / "e" / "f"
        assert self.block(board, deep, block="x", create=True, mode="0600")["msg"] == "File created"
        assert stat.S_IMODE(deep.stat().st_mode) == 0o600
        assert not self.block(board, path, state="absent", create=True)["changed"]
        assert not path.exists()

    def test_attributes_backup_and_validation(self, board: Driver, path: Path) -> None:
        path.write_text("old\n")
        bad = {"path": str(path), "block": "x", "validate": "/bin/false %s"}
        assert "failed to validate" in board.task("blockinfile", bad)["msg"]
        assert path.read_text() == "old\n"
        done = board.task("blockinfile", {"path": str(path), "block": "x", "backup": True})
        assert Path(done["backup_file"]).read_text() == "old\n"
        assert self.block(board, path, block="x", mode="0640")["changed"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_links_are_followed_and_directories_refused(self, board: Driver, path: Path) -> None:
        path.write_text("")
        link = path.with_name("link")
        link.symlink_to("file")
        self.block(board, link, block="x")
        assert link.is_symlink()
        assert "is a directory" in board.task("blockinfile", {"path": str(path.parent), "block": "x"})["msg"]

    def test_bad_expressions_and_bytes_that_are_no_text(self, board: Driver, path: Path) -> None:
        path.write_bytes(b"\xff\r\n")
        bad = {"path": str(path), "block": "x", "insertafter": "["}
        assert "is not a regular expression" in board.task("blockinfile", bad)["msg"]
        self.block(board, path, block="ä", insertbefore="BOF")
        assert path.read_bytes() == BLOCK.format("ä\n").encode() + b"\xff\r\n"

    def test_a_check_run_sees_the_file_that_would_be_made(self, board: Driver, path: Path) -> None:
        tasks = [
            {"module": "copy", "args": {"dest": str(path), "content": "first\n"}},
            {"module": "blockinfile", "args": {"path": str(path), "block": "x"}},
            {"module": "replace", "args": {"path": str(path), "regexp": "first", "replace": "1st"}},
            {"module": "slurp", "args": {"src": str(path)}},
            {"module": "find", "args": {"paths": str(path.parent), "contains": "1st"}},
        ]
        predicted = board.batch(tasks, check=True, diff=True)
        assert not path.exists()
        real = board.batch(tasks, diff=True)
        for one, two in zip(predicted, real, strict=True):
            assert (one["failed"], one["changed"], one.get("diff")) == (False, two["changed"], two.get("diff"))
        assert predicted[3]["content"] == real[3]["content"]
        assert predicted[4]["matched"] == real[4]["matched"] == 1

    lines = st.lists(st.sampled_from(["a", "b", "", "x = 1", "# BEGIN other", "ä"]), max_size=6)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        lines,
        st.text("ab\n", min_size=1, max_size=6),
        st.fixed_dictionaries(
            {"state": st.sampled_from(["present", "absent"])},
            optional={"insertafter": st.sampled_from(["EOF", "a", "^$", "(?m)b$"])},
        ),
    )
    def test_once_is_enough_and_the_rest_stays(
        self, board: Driver, tmp_path: Path, old: list[str], block: str, more: dict[str, str]
    ) -> None:
        path = tmp_path / "f"
        path.write_text("".join(line + "\n" for line in old))
        args = {"path": str(path), "block": block, **more}
        assert not board.task("blockinfile", args)["failed"]
        text = path.read_text()
        assert not board.task("blockinfile", args)["changed"]
        assert path.read_text() == text
        own = BLOCK.format(block if block.endswith("\n") else block + "\n")
        assert text.count(own) == (1 if more["state"] == "present" else 0)
        assert text.replace(own, "") == "".join(line + "\n" for line in old)


class TestReplace:
    def replace(self, board: Driver, path: Path, **args: Any) -> dict[str, Any]:
        return converge(board, "replace", {"path": str(path), **args})

    def test_every_match_with_groups(self, board: Driver, path: Path) -> None:
        path.write_text("port=1\nother port=2\nport=3\n")
        done = self.replace(board, path, regexp=r"^port=(\d)$", replace=r"listen \1")
        assert (done["changed"], done["msg"]) == (True, "2 replacements made")
        assert path.read_text() == "listen 1\nother port=2\nlisten 3\n"
        assert self.replace(board, path, regexp="nothing", replace="x")["msg"] == ""
        self.replace(board, path, regexp="^other.*\n")
        assert path.read_text() == "listen 1\nlisten 3\n"

    @pytest.mark.parametrize(
        ("args", "after"),
        [
            ({"after": "START"}, "a START z END z"),
            ({"before": "END"}, "z START z END a"),
            ({"after": "START", "before": "END"}, "a START z END a"),
            ({"before": "(?i)end|never"}, "z START z END a"),
            ({"after": "(?m)^a"}, "a START z END z"),
            ({"after": "nowhere"}, "a START a END a"),
        ],
    )
    def test_a_part_of_the_file(self, board: Driver, path: Path, args: dict[str, str], after: str) -> None:
        path.write_text("a START a END a")
        done = self.replace(board, path, regexp=r"\ba\b", replace="z", **args)
        assert path.read_text() == after
        if "nowhere" in args.values():
            assert "do not match anything" in done["msg"]

    def test_encodings(self, board: Driver, path: Path) -> None:
        path.write_bytes("größe\n".encode("utf-16"))
        done = self.replace(board, path, regexp="ö", replace="oe", encoding="utf-16")
        assert path.read_text(encoding="utf-16") == "groesse\n".replace("sse", "ße")
        assert "groeße" in done["diff"][0]["after"]
        path.write_bytes(b"a\xff\r\n")
        self.replace(board, path, regexp="a", replace="b")
        assert path.read_bytes() == b"b\xff\r\n"

    def test_faults(self, board: Driver, path: Path) -> None:
        def message(**args: Any) -> str:
            result = board.task("replace", {"path": str(path), "regexp": "a", **args})
            assert result["failed"]
            assert "exception" not in result
            return str(result["msg"])

        assert "does not exist" in message()
        path.write_bytes(b"a")
        assert "not a regular expression" in message(regexp="(")
        assert "not a regular expression" in message(after="[")
        assert "does not fit" in message(replace=r"\7")
        assert "no encoding 'nonsense'" in message(encoding="nonsense")
        assert "is not utf-16 text" in message(encoding="utf-16")
        assert "cannot be written as ascii" in message(replace="ä", encoding="ascii")
        assert "is a directory" in message(path=str(path.parent))
        assert path.read_bytes() == b"a"

    def test_mode_backup_and_validation(self, board: Driver, path: Path) -> None:
        path.write_text("a")
        args = {"path": str(path), "regexp": "a", "replace": "b", "validate": "grep -q b %s", "backup": True}
        done = board.task("replace", {**args, "mode": "0600"})
        assert Path(done["backup_file"]).read_text() == "a"
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("b", 0o600)
        assert "failed to validate" in board.task("replace", {**args, "regexp": "b", "replace": "c"})["msg"]


def test_slurp(board: Driver, path: Path) -> None:
    path.write_bytes(b"\x00\xff")
    for check in (True, False):
        result = board.task("slurp", {"path": str(path)}, check=check)
        assert base64.b64decode(result["content"]) == b"\x00\xff"
        assert (result["encoding"], result["source"], result["changed"]) == ("base64", str(path), False)
        assert "no file /nowhere" in board.task("slurp", {"src": "/nowhere"}, check=check)["msg"]
        assert "is a directory" in board.task("slurp", {"src": "/"}, check=check)["msg"]


class TestTempfile:
    def test_files_and_directories(self, board: Driver, tmp_path: Path) -> None:
        made = board.task("tempfile", {"path": str(tmp_path)})
        assert (made["changed"], made["state"], made["mode"], made["size"]) == (True, "file", "0600", 0)
        assert Path(made["path"]).name.startswith("ansible.")
        assert Path(made["path"]).read_bytes() == b""
        args = {"path": str(tmp_path), "state": "directory", "prefix": "p", "suffix": ".s"}
        two = [board.task("tempfile", args)["path"] for _ in range(2)]
        assert two[0] != two[1]
        assert all(stat.S_IMODE(Path(one).stat().st_mode) == 0o700 for one in two)
        assert all(Path(one).name[0] == "p" and one.endswith(".s") for one in two)

    def test_the_systems_folder(self, board: Driver, tmp_path: Path) -> None:
        made = board.task("tempfile", {"suffix": ".tvmops-test"}, environment={"TMPDIR": str(tmp_path)})
        Path(made["path"]).unlink()

    def test_faults(self, board: Driver, tmp_path: Path) -> None:
        assert "does not exist" in board.task("tempfile", {"path": "/nowhere"})["msg"]
        assert "cannot hold a /" in board.task("tempfile", {"prefix": "a/b"})["msg"]
        assert list(tmp_path.iterdir()) == []

    def test_later_tasks_of_a_check_run_see_it(self, board: Driver, tmp_path: Path) -> None:
        made = board.task("tempfile", {"path": str(tmp_path), "state": "directory"}, check=True)
        assert made["changed"]
        inside = {"dest": made["path"] + "/f", "content": "x"}
        result = board.task("copy", inside, check=True)
        assert (result["failed"], result["changed"]) == (False, True)
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub/deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name, text in [("a.txt", "hello\nwally\n"), ("b.log", "12345"), (".dot", ""), ("sub/c.txt", "c")]:
        (root / name).write_text(text)
    (root / "sub/deep/d.txt").write_text("d" * 2000)
    (root / ".hidden/in").write_text("")
    (root / "link").symlink_to("a.txt")
    (root / "dlink").symlink_to("sub")
    (root / "sub/up").symlink_to("..")
    os.mkfifo(root / "pipe")
    (root / "b.log").chmod(0o640)
    os.utime(root / "a.txt", (time.time() - 7200,) * 2)
    return root


class TestFind:
    @pytest.mark.parametrize(
        ("args", "found"),
        [
            ({}, "a.txt b.log"),
            ({"hidden": True}, ".dot a.txt b.log"),
            ({"recurse": True}, ".hidden/in a.txt b.log sub/c.txt sub/deep/d.txt"),
            ({"recurse": True, "depth": 1}, "a.txt b.log"),
            ({"recurse": True, "depth": 2}, ".hidden/in a.txt b.log sub/c.txt"),
            ({"patterns": "*.txt,*.log", "excludes": "b*"}, "a.txt"),
            ({"patterns": ["^.{5}$"], "use_regex": True}, "a.txt b.log"),
            ({"patterns": "txt", "use_regex": True}, ""),
            ({"file_type": "directory"}, "sub"),
            ({"file_type": "link"}, "dlink link"),
            ({"file_type": "any"}, "a.txt b.log dlink link pipe sub"),
            ({"age": "1h"}, "a.txt"),
            ({"age": "-1h"}, "b.log"),
            ({"size": "1k", "recurse": True}, "sub/deep/d.txt"),
            ({"size": "-5b"}, "b.log"),
            ({"contains": "wal"}, "a.txt"),
            ({"contains": "ally"}, ""),
            ({"contains": "ally", "read_whole_file": True}, "a.txt"),
            ({"mode": "0640"}, "b.log"),
            ({"mode": "u=rw,g=r,o=r"}, "a.txt"),
            ({"mode": "0020", "exact_mode": False}, ""),
            ({"patterns": "c.*", "recurse": True, "follow": True}, "dlink/c.txt sub/c.txt"),
        ],
    )
    def test_what_is_found(self, board: Driver, tree: Path, args: dict[str, Any], found: str) -> None:
        (tree / "a.txt").chmod(0o644)
        for check in (True, False):
            result = board.task("find", {"paths": str(tree), **args}, check=check)
            assert not result["failed"], result
            names = sorted(str(Path(one["path"]).relative_to(tree)) for one in result["files"])
            assert " ".join(names) == found
            assert (result["matched"], result["changed"]) == (len(names), False)
            assert (result["msg"], result["skipped_paths"]) == ("All paths examined", {})

    def test_what_is_told_of_a_file(self, board: Driver, tree: Path) -> None:
        args = {"path": str(tree), "pattern": "b.*", "get_checksum": True, "checksum_algorithm": "sha256"}
        (one,) = board.task("find", args)["files"]
        assert (one["mode"], one["size"], one["isreg"], one["islnk"]) == ("0640", 5, True, False)
        assert (one["rgrp"], one["wgrp"], one["roth"]) == (True, False, False)
        assert one["checksum"] == hashlib.sha256(b"12345").hexdigest()
        assert one["uid"] == os.getuid()

    def test_limit_and_examined(self, board: Driver, tree: Path) -> None:
        result = board.task("find", {"paths": str(tree), "recurse": True, "limit": 1})
        assert (result["matched"], result["msg"]) == (1, "Limit of matches reached")
        assert board.task("find", {"paths": str(tree)})["examined"] == 8

    def test_paths_that_are_no_directories(self, board: Driver, tree: Path) -> None:
        result = board.task("find", {"paths": [str(tree / "a.txt"), "/nowhere", str(tree)]})
        assert not result["failed"]
        assert result["matched"] == 2
        assert set(result["skipped_paths"]) == {str(tree / "a.txt"), "/nowhere"}
        assert "'/nowhere' is not a directory" in result["msg"]

    def test_faults(self, board: Driver, tree: Path) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"age": "1y"}, "age '1y'"),
            ({"size": "big"}, "size 'big'"),
            ({"patterns": "[", "use_regex": True}, "not a regular expression"),
            ({"contains": "("}, "not a regular expression"),
            ({"contains": "x", "encoding": "nonsense"}, "no encoding"),
        ]
        for args, words in cases:
            result = board.task("find", {"paths": str(tree), **args})
            assert result["failed"]
            assert words in result["msg"]
            assert "exception" not in result


@pytest.mark.parametrize("python", [*PYTHONS, sys.executable])
def test_every_python(python: str, tmp_path: Path) -> None:
    path = tmp_path / "dü"
    path.write_bytes(b"one\n\xff\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # no locale: as under ssh
    changing: list[dict[str, Any]] = [
        {"module": "blockinfile", "args": {"path": str(path), "block": "zwölf", "insertafter": "^(one|ÖNE)"}},
        {"module": "replace", "args": {"path": str(path), "regexp": "^one", "replace": "ÖNE"}},
        {"module": "apt_repository", "args": {"repo": "deb http://a.example/ b main", "filename": f"{tmp_path}/ä"}},
        {"module": "git", "args": {"repo": str(tmp_path / "none"), "dest": str(tmp_path / "x"), "clone": False}},
    ]
    changing[2]["args"]["update_cache"] = False
    looking: list[dict[str, Any]] = [
        {"module": "slurp", "args": {"src": str(path)}},
        {"module": "find", "args": {"paths": str(tmp_path), "contains": "ÖNE", "age": "-1d", "recurse": True}},
        {"module": "uri", "args": {"url": "http://127.0.0.1:1/", "status_code": -1, "body": {"a": 1}}},
        {"module": "uri", "args": {"url": "https://127.0.0.1:1/", "status_code": -1, "validate_certs": False}},
    ]
    looking[2]["args"].update(method="POST", body_format="json")
    with Driver(tmp_path / "cache", python, env=env) as agent:
        tolerant = [{**task, "ignore_errors": True} for task in changing + looking]
        first = agent.batch(tolerant, diff=True)
        assert [one["changed"] for one in first] == [True, True, True] + [False] * 5, first
        assert "git ls-remote" in first[3]["msg"]
        assert first[5]["matched"] == 1
        assert not any("exception" in one or (one["failed"] and one is not first[3]) for one in first), first
        assert base64.b64decode(first[4]["content"]).decode("utf-8", "replace").split("\n")[:3:2] == ["ÖNE", "zwölf"]
        assert not any(one["changed"] for one in agent.batch(tolerant))
        assert agent.close() == 0
    assert agent.stderr == ""
