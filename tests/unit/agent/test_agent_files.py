"""The modules for files, through a real agent: what they change, what they report, what they refuse."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.agent import attributes


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def converge(board: Driver, module: str, args: dict[str, Any]) -> dict[str, Any]:
    """Check, apply, apply again; the first result that changed something."""
    predicted = board.task(module, args, check=True, diff=True)
    applied = board.task(module, args, diff=True)
    assert not applied["failed"], applied
    assert predicted["changed"] == applied["changed"], (predicted, applied)
    again = board.task(module, args)
    assert not again["changed"], again
    return applied


class TestFile:
    def test_directory_with_parents_gets_the_mode_everywhere(self, board: Driver, tmp_path: Path) -> None:
        result = converge(board, "file", {"path": str(tmp_path / "a/b"), "state": "directory", "mode": "0750"})
        assert result["changed"]
        assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "a/b")) == (0o750, 0o750)
        assert (result["state"], result["mode"]) == ("directory", "0750")
        assert "mode" in result["diff"][0]["after"]

    def test_recurse_changes_what_differs_and_does_not_follow_links(self, board: Driver, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_text("")
        outside.chmod(0o600)
        tree = tmp_path / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub/f").write_text("")
        (tree / "link").symlink_to(outside)
        args = {"path": str(tree), "state": "directory", "recurse": True, "mode": "u=rwX,g=rX,o="}
        assert converge(board, "file", args)["changed"]
        assert (mode_of(tree), mode_of(tree / "sub"), mode_of(tree / "sub/f")) == (0o750, 0o750, 0o640)
        assert mode_of(outside) == 0o600

    def test_link_is_made_moved_and_needs_its_target(self, board: Driver, tmp_path: Path) -> None:
        link = tmp_path / "l"
        for name in ("one", "two"):
            (tmp_path / name).write_text(name)
            assert converge(board, "file", {"path": str(link), "src": name, "state": "link"})["changed"]
            assert link.read_text() == name
        missing = {"path": str(tmp_path / "m"), "src": "nowhere", "state": "link"}
        assert "does not exist" in board.task("file", missing)["msg"]
        assert converge(board, "file", {**missing, "force": True})["changed"]

    def test_link_replaces_a_file_only_by_force(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("precious")
        args = {"path": str(tmp_path / "f"), "src": "/", "state": "link"}
        assert "refusing to convert" in board.task("file", args)["msg"]
        assert (tmp_path / "f").read_text() == "precious"
        assert converge(board, "file", {**args, "force": True})["changed"]
        (tmp_path / "d").mkdir()
        (tmp_path / "d/x").write_text("")
        full = {"path": str(tmp_path / "d"), "src": "/", "state": "link", "force": True}
        assert "not empty" in board.task("file", full)["msg"]

    def test_hard_link(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")
        result = converge(board, "file", {"path": str(tmp_path / "h"), "src": str(tmp_path / "f"), "state": "hard"})
        assert result["state"] == "hard"
        assert (tmp_path / "h").samefile(tmp_path / "f")

    def test_touch_changes_each_time_unless_times_are_preserved(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "t"
        args = {"path": str(path), "state": "touch", "mode": "0600"}
        assert board.task("file", args)["changed"]
        os.utime(path, (1, 1))
        assert board.task("file", args)["changed"]
        assert path.stat().st_mtime > 1
        kept = {**args, "modification_time": "preserve", "access_time": "preserve"}
        os.utime(path, (1, 1))
        assert not board.task("file", kept)["changed"]
        assert path.stat().st_mtime == 1

    def test_absent_removes_trees_and_links_not_their_targets(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "d/sub").mkdir(parents=True)
        (tmp_path / "d/link").symlink_to(tmp_path / "kept")
        (tmp_path / "kept").write_text("")
        result = converge(board, "file", {"path": str(tmp_path / "d"), "state": "absent"})
        assert (result["changed"], result["state"]) == (True, "absent")
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]

    def test_file_state_only_sets_attributes(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "f"
        assert "absent, cannot continue" in board.task("file", {"path": str(path), "state": "file"})["msg"]
        path.write_text("x")
        assert converge(board, "file", {"path": str(path), "mode": "a=r"})["mode"] == "0444"

    def test_unknown_owner(self, board: Driver, tmp_path: Path) -> None:
        result = board.task("file", {"path": str(tmp_path), "owner": "no-such-user"})
        assert "no user 'no-such-user'" in result["msg"]
        assert board.task("file", {"path": str(tmp_path), "owner": "no-such-user"}, check=True)["failed"]


class TestCopy:
    def test_content_mode_backup_and_diff(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_text("old\n")
        path.chmod(0o640)
        args = {"dest": str(path), "content": "new\n", "backup": True}
        result = converge(board, "copy", args)
        assert mode_of(path) == 0o640, "the mode is kept"
        assert Path(result["backup_file"]).read_text() == "old\n"
        assert (result["diff"][0]["before"], result["diff"][0]["after"]) == ("old\n", "new\n")
        assert result["diff"][0]["before_header"] == str(path)
        converge(board, "copy", {**args, "mode": "0600"})
        assert mode_of(path) == 0o600

    def test_binary_and_long_content_is_summarised_in_diffs(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_bytes(b"\0" * 100)
        result = board.task("copy", {"dest": str(path), "content": "x" * 200_000}, diff=True)
        assert result["diff"][0]["before"].startswith("(100 bytes of binary data")
        assert result["diff"][0]["after"] == "(200000 bytes, too long to show)\n"

    def test_structured_content_becomes_json(self, board: Driver, tmp_path: Path) -> None:
        converge(board, "copy", {"dest": str(tmp_path / "f"), "content": {"a": [1]}})
        assert (tmp_path / "f").read_text() == '{"a": [1]}'

    def test_into_a_directory(self, board: Driver, tmp_path: Path) -> None:
        blob = board.blob(b"data")
        for dest in (f"{tmp_path}/", f"{tmp_path}/new/"):
            result = converge(board, "copy", {"dest": dest, "src": "files/name", "_blob": blob})
            assert result["dest"] == dest + "name"
        assert "content needs the path of a file" in board.task("copy", {"dest": str(tmp_path), "content": "x"})["msg"]

    def test_missing_directory(self, board: Driver, tmp_path: Path) -> None:
        args = {"dest": f"{tmp_path}/no/f", "content": "x"}
        assert "does not exist" in board.task("copy", args)["msg"]
        assert "does not exist" in board.task("copy", args, check=True)["msg"]

    def test_no_force_leaves_what_is_there(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("mine")
        assert not converge(board, "copy", {"dest": f"{tmp_path}/f", "content": "theirs", "force": False})["changed"]
        assert (tmp_path / "f").read_text() == "mine"
        assert converge(board, "copy", {"dest": f"{tmp_path}/g", "content": "x", "force": False})["changed"]

    def test_links_are_replaced_or_followed(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("old")
        link = tmp_path / "l"
        link.symlink_to("f")
        converge(board, "copy", {"dest": str(link), "content": "1", "follow": True})
        assert link.is_symlink()
        assert (tmp_path / "f").read_text() == "1"
        converge(board, "copy", {"dest": str(link), "content": "2"})
        assert not link.is_symlink()
        assert (tmp_path / "f").read_text() == "1"

    def test_validate_stops_bad_content(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_text("good\n")
        args = {"dest": str(path), "content": "bad\n", "validate": "grep -q good %s"}
        result = board.task("copy", args)
        assert (result["failed"], result["rc"]) == (True, 1)
        assert path.read_text() == "good\n"
        assert [one.name for one in tmp_path.iterdir()] == ["f"]
        converge(board, "copy", {**args, "content": "good 2\n"})

    def test_remote_src(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")
        args = {"src": str(tmp_path / "f"), "dest": str(tmp_path / "g"), "remote_src": True}
        assert converge(board, "copy", args)["changed"]
        assert "is not a file" in board.task("copy", {**args, "src": str(tmp_path)})["msg"]
        assert "did not send" in board.task("copy", {"src": "/etc/passwd", "dest": str(tmp_path / "h")})["msg"]

    def test_template_is_copy_with_rendered_content(self, board: Driver, tmp_path: Path) -> None:
        args = {"src": "a.conf.j2", "dest": str(tmp_path / "a.conf"), "_blob": board.blob(b"rendered"), "mode": "0640"}
        assert converge(board, "template", args)["checksum"]
        assert (tmp_path / "a.conf").read_text() == "rendered"


class TestLineinfile:
    @pytest.mark.parametrize(
        ("args", "before", "after"),
        [
            ({"line": "c"}, "a\nb\n", "a\nb\nc\n"),
            ({"line": "c"}, "a\nb", "a\nb\nc\n"),
            ({"line": "a"}, "a\nb\n", "a\nb\n"),
            ({"line": "c\n"}, "a\n", "a\nc\n"),
            ({"line": "x=2", "regexp": "^x="}, "x=0\nx=1\ny\n", "x=0\nx=2\ny\n"),
            ({"line": "x=2", "regexp": "^x=", "firstmatch": True}, "x=0\nx=1\n", "x=2\nx=1\n"),
            ({"line": "x=2", "search_string": "=1"}, "x=0\nx=1\n", "x=0\nx=2\n"),
            ({"line": "n", "insertafter": "^a"}, "a\nb\na\nc\n", "a\nb\na\nn\nc\n"),
            ({"line": "n", "insertafter": "^a", "firstmatch": True}, "a\nb\na\nc\n", "a\nn\nb\na\nc\n"),
            ({"line": "n", "insertbefore": "^b"}, "a\nb\n", "a\nn\nb\n"),
            ({"line": "n", "insertbefore": "BOF"}, "a\n", "n\na\n"),
            ({"line": "n", "insertafter": "EOF"}, "a\n", "a\nn\n"),
            ({"line": "n", "insertafter": "^zzz"}, "a\n", "a\nn\n"),
            ({"line": r"\1=9", "regexp": "^(x)=.*", "backrefs": True}, "x=1\n", "x=9\n"),
            ({"line": r"\1=9", "regexp": "^(z)=.*", "backrefs": True}, "x=1\n", "x=1\n"),
            ({"regexp": "^#", "state": "absent"}, "#1\na\n#2\n", "a\n"),
            ({"line": "a", "state": "absent"}, "a\nab\na", "ab\n"),
            ({"line": "c"}, "a\r\nb\rc\r\n", "a\r\nb\rc\r\nc\n"),
        ],
    )
    def test_edits(self, board: Driver, tmp_path: Path, args: dict[str, Any], before: str, after: str) -> None:
        path = tmp_path / "f"
        path.write_bytes(before.encode())
        path.chmod(0o640)
        result = converge(board, "lineinfile", {"path": str(path), **args})
        assert path.read_bytes() == after.encode()
        assert result["changed"] == (before != after)
        assert mode_of(path) == 0o640

    def test_a_missing_file(self, board: Driver, tmp_path: Path) -> None:
        args = {"path": str(tmp_path / "sub/f"), "line": "x"}
        assert "does not exist" in board.task("lineinfile", args)["msg"]
        assert not converge(board, "lineinfile", {**args, "state": "absent"})["changed"]
        assert converge(board, "lineinfile", {**args, "create": True, "mode": "0600"})["changed"]
        assert mode_of(tmp_path / "sub/f") == 0o600

    def test_bad_input_is_refused(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("")
        path = str(tmp_path / "f")
        assert "single line" in board.task("lineinfile", {"path": path, "line": "a\nb"})["msg"]
        bad = board.task("lineinfile", {"path": path, "line": "a", "regexp": "("})
        assert "not a regular expression" in bad["msg"]
        assert "exception" not in bad

    def test_links_lead_to_the_file_that_is_edited(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a\n")
        (tmp_path / "l").symlink_to("f")
        converge(board, "lineinfile", {"path": str(tmp_path / "l"), "line": "b"})
        assert (tmp_path / "l").is_symlink()
        assert (tmp_path / "f").read_text() == "a\nb\n"


class TestCommand:
    def test_result_values(self, board: Driver, tmp_path: Path) -> None:
        result = board.task("command", {"argv": ["printf", "a\\nb\\n\\n"], "chdir": str(tmp_path)})
        assert (result["stdout"], result["stdout_lines"], result["cmd"][0]) == ("a\nb", ["a", "b"], "printf")
        assert result["delta"].startswith("0:00:00")
        assert result["start"] < result["end"]

    def test_free_form_options(self, board: Driver, tmp_path: Path) -> None:
        raw = f"echo 'a  b' creates={tmp_path}/no chdir='{tmp_path}' \"creates=/\""
        assert board.task("command", {"_raw_params": raw})["stdout"] == "a  b creates=/"
        skipped = board.task("shell", {"_raw_params": f"echo hi creates={tmp_path}/*"})
        assert skipped["changed"]
        (tmp_path / "x").write_text("")
        skipped = board.task("shell", {"_raw_params": f"echo hi creates={tmp_path}/*"})
        assert (skipped["changed"], skipped["rc"]) == (False, 0)
        assert "exists" in skipped["msg"]
        assert not board.task("command", {"cmd": "echo hi", "removes": f"{tmp_path}/y"})["changed"]

    def test_stdin_expansion_and_shell_executable(self, board: Driver) -> None:
        assert board.task("command", {"cmd": "cat", "stdin": "text"})["stdout"] == "text"
        assert (
            board.task("command", {"cmd": "echo $HOME '$HOME'"})["stdout"]
            == f"{os.environ['HOME']} " * 1 + os.environ["HOME"]
        )
        assert board.task("shell", {"cmd": "echo ${BASH:+yes}", "executable": "/bin/bash"})["stdout"] == "yes"

    def test_failures_are_told(self, board: Driver, tmp_path: Path) -> None:
        assert "cannot split" in board.task("command", {"cmd": "echo 'x"})["msg"]
        assert "in /no/such" in board.task("command", {"cmd": "true", "chdir": "/no/such"})["msg"]
        assert board.task("shell", {"cmd": "kill -9 $$"})["rc"] == -9


def test_stat(board: Driver, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("x")
    path.chmod(0o4751)
    (tmp_path / "l").symlink_to("f")
    found = board.task("stat", {"path": str(path), "checksum_algorithm": "md5"})["stat"]
    assert (found["exists"], found["isreg"], found["mode"], found["size"]) == (True, True, "4751", 1)
    assert found["checksum"] == "9dd4e461268c8034f5c8564e155c67a6"
    assert (found["isuid"], found["xgrp"], found["wgrp"], found["xoth"]) == (True, True, False, True)
    link = board.task("stat", {"path": str(tmp_path / "l")})["stat"]
    assert (link["islnk"], link["lnk_target"], link["lnk_source"]) == (True, "f", str(path))
    assert board.task("stat", {"path": str(tmp_path / "l"), "follow": True})["stat"]["isreg"]
    assert board.task("stat", {"path": str(tmp_path / "no")})["stat"] == {"exists": False}


clauses = st.builds(
    lambda who, actions: who + "".join(actions),
    st.sampled_from(["", "u", "g", "o", "a", "ug", "go", "uo"]),
    st.lists(
        st.builds(
            lambda operator, letters: operator + letters,
            st.sampled_from("+-="),
            st.sampled_from(["", "r", "w", "x", "X", "s", "t", "rw", "rwx", "rX", "rwxst", "u", "g", "o"]),
        ),
        min_size=1,
        max_size=2,
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(clauses, min_size=1, max_size=3), st.integers(0, 0o7777), st.booleans())
def test_symbolic_modes_mean_what_chmod_means(
    tmp_path_factory: Any, parts: list[str], mode: int, directory: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"chmod-{os.getpid()}-{directory}"
    path.mkdir(exist_ok=True) if directory else path.touch()
    path.chmod(mode)
    text = ",".join(parts)
    subprocess.run(["chmod", "--", text, path], check=True, stderr=subprocess.DEVNULL)
    expected, _ = mode_of(path), path.chmod(0o700)
    assert attributes.parse_mode(text, mode, directory) == expected, text
