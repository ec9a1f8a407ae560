"""The board program that knows a board's releases: its history, what to go back to, what may be removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from board_program import FILES, program
from hypothesis import given, settings
from hypothesis import strategies as st

A, B, C, D = (letter * 16 for letter in "abcd")


class Board:
    """A prefix with releases."""

    def __init__(self, prefix: Path, *keys: str) -> None:
        self.prefix = prefix
        for age, key in enumerate(reversed(keys)):
            self.add(key, age + 1)

    def add(self, key: str, age: float = 0.0) -> None:
        folder = self.prefix / "releases" / key
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"stack": "s", "tvm": "1", "files": {}}))
        (folder / ".complete").write_text(json.dumps({"python": "/usr/bin/python3"}))
        then = time.time() - 1000 * age
        os.utime(folder / ".complete", (then, then))

    def __call__(self, action: str, *arguments: str, rc: int = 0) -> str:
        argv = [sys.executable, "-I", FILES / "releases.py", action, self.prefix, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout.strip()

    def link(self, key: str) -> None:
        link = self.prefix / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(f"releases/{key}")

    def switch(self, key: str, how: str = "switch") -> str:
        self.link(key)
        return self("note", key, how)

    def gc(self, keep: int, *more: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("gc", str(keep), str(self.prefix), *more))
        return found


def test_back_and_no_further(tmp_path: Path) -> None:
    board = Board(tmp_path, A, B, C)
    assert "no release was current before this" in board("previous", rc=3)
    for key in (A, B, C):
        assert board.switch(key) == "noted"
        assert board.switch(key) == "known"
    assert board("previous") == B
    board.switch(B, "back")
    assert board("previous") == B, "a second time it is where it is"
    board.switch(C)
    assert board("previous") == B
    board.switch(A)
    assert board("previous") == C


def test_what_worked_last(tmp_path: Path) -> None:
    board = Board(tmp_path, A, B)
    assert board("fallback", A) == ""
    board.link(A)
    assert board("fallback", A) == ""
    assert board("fallback", B) == A, "a board that was provisioned before histories were kept"
    board.link(B)  # power is lost before B was proven
    assert board("fallback", B) == A
    assert board("previous") == A
    board("note", B, "switch")
    assert board("fallback", B) == ""
    (tmp_path / "releases" / A / ".bad").write_text("{}")
    assert board("fallback", C) == B
    (tmp_path / "releases" / B / ".complete").unlink()
    assert board("fallback", C) == ""


def test_a_history_that_a_power_cut_has_worn(tmp_path: Path) -> None:
    board = Board(tmp_path, A, B)
    board.switch(A)
    board.switch(B)
    with (tmp_path / "releases" / ".history").open("ab") as history:
        history.write(b"\0\0\0\0{")
    assert board("previous") == A
    board.switch(A, "back")
    assert board("previous") == A


def test_what_is_removed_and_what_never(tmp_path: Path) -> None:
    board = Board(tmp_path, A, B, C, D)
    for key in (A, B):
        board.switch(key)
    (tmp_path / f"smoke-{C}.json").write_text("{}")
    assert board.gc(1, "--check")["removed"] == [C, D]
    assert board.gc(4)["removed"] == []
    done = board.gc(1)
    assert (done["removed"], done["kept"]) == ([C, D], [A, B])
    assert done["bytes"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "releases"]
    assert {path.name for path in (tmp_path / "releases").iterdir()} == {A, B, ".history"}


def test_a_release_in_use_stays(tmp_path: Path) -> None:
    board = Board(tmp_path, A, B, C)
    board.switch(A)
    program = tmp_path / "releases" / B / "sleep"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    linked = tmp_path.with_name(f"{tmp_path.name}-link")
    linked.symlink_to(tmp_path)
    with subprocess.Popen([program, "60"]) as process:
        try:
            board.prefix = linked
            assert board.gc(1, "--check")["removed"] == [C]
            board.prefix = tmp_path
            assert board.gc(1)["removed"] == [C]
        finally:
            process.kill()
    assert board.gc(1)["removed"] == [B]


def test_left_overs_go_when_nobody_goes_on_with_them(tmp_path: Path) -> None:
    board = Board(tmp_path, A)
    board.switch(A)
    for key, age in ((B, 0), (C, 7200)):
        folder = tmp_path / "releases" / key
        folder.mkdir()
        then = time.time() - age
        os.utime(folder, (then, then))
    assert board.gc(3)["removed"] == [C]


def test_why_a_release_cannot_be_used(tmp_path: Path) -> None:
    board = Board(tmp_path, A, B)
    board.switch(A)
    assert json.loads(board("about", A))["python_path"] == "/usr/bin/python3"
    assert f"there are: {A}, {B}" in board("about", C, rc=3)
    done = subprocess.run(
        [sys.executable, FILES / "release.py", "bad", tmp_path / "releases" / B, "it\ndid not answer"], check=True
    )
    assert done.returncode == 0
    assert "found broken: it did not answer" in board("about", B, rc=3)
    listed = {one["key"]: one for one in json.loads(board("list"))["releases"]}
    assert listed[B]["bad"] == "it did not answer"
    assert listed[A]["current"]


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from([A, B, C]), st.sampled_from(["switch", "back"])), max_size=8))
def test_going_back_always_leads_to_another_release(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    board = Board(tmp_path_factory.mktemp("board"), A, B, C)
    releases = program("releases").Releases(str(board.prefix))
    for key, how in steps:
        board.link(key)
        releases.note(key, how)
    trail = releases.trail()
    assert len(trail) == len(set(trail))
    assert trail[-1:] == ([steps[-1][0]] if steps else [])
    assert releases.before() != releases.current() or releases.current() is None
