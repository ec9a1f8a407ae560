"""Undoing runs: laws over generated sequences on a real agent, and what stands in the way of undoing."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tvmops.agent import inodes, journal

Task = dict[str, Any]
numbers = itertools.count(1)
NAMES = ("one", "two", "dir", "dir/three", "dir/sub", "dir/sub/four", "link")


@contextmanager
def new_root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tvmops-undo-") as root:
        yield Path(root)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state") / "tvmops"


@pytest.fixture(scope="module")
def board(cache: Path, state: Path) -> Iterator[Driver]:
    with Driver(cache, env={**os.environ, "TVMOPS_AGENT_STATE": str(state)}) as driver:
        yield driver


def run_name() -> str:
    return f"run-{next(numbers)}"


def snapshot(root: Path, times: bool = True) -> dict[str, tuple[object, ...]]:
    """Contents, modes, owners, links, and the times of files."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        content = path.read_bytes() if is_file else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        when = status.st_mtime_ns if is_file and times else 0
        name = str(path.relative_to(root))
        first = inodes.setdefault(status.st_ino, name) if is_file else ""  # hard links stay what they are
        found[name] = (status.st_mode, status.st_uid, status.st_gid, content, target, when, first)
    return found


def same_tree(one: Path, other: Path) -> bool:
    return snapshot(one, times=False) == snapshot(other, times=False)


paths = st.sampled_from(NAMES)
texts = st.text("ab=\n", max_size=12)
modes = st.sampled_from([None, "0644", "0600", "0755", "u=rwx,go="])


def args(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


tasks = st.one_of(
    st.builds(lambda p, t, m: {"module": "copy", "args": args(dest=p, content=t, mode=m)}, paths, texts, modes),
    st.builds(
        lambda p, line, m: {"module": "lineinfile", "args": args(path=p, line=line, create=True, mode=m)},
        paths,
        st.text("ab=", min_size=1, max_size=3),
        modes,
    ),
    st.builds(
        lambda p, t: {"module": "blockinfile", "args": args(path=p, block=t, create=True)},
        paths,
        st.text("ab=\n", max_size=6),
    ),
    st.builds(lambda p, m: {"module": "file", "args": args(path=p, state="directory", mode=m)}, paths, modes),
    st.builds(lambda p: {"module": "file", "args": args(path=p, state="absent")}, paths),
    st.builds(lambda p, m: {"module": "file", "args": args(path=p, mode=m or "0640")}, paths, modes),
    st.builds(lambda p, m: {"module": "file", "args": args(path=p, state="touch", mode=m)}, paths, modes),
    st.builds(
        lambda p, target, force: {"module": "file", "args": args(path=p, state="link", src=target, force=force)},
        paths,
        st.sampled_from(["one", "dir", "nowhere", "."]),
        st.booleans(),
    ),
    st.builds(lambda p, src: {"module": "file", "args": args(path=p, state="hard", src=src)}, paths, paths),
    st.builds(
        lambda p, src: {"module": "copy", "args": args(dest=p, src=src, remote_src=True, mode="preserve")}, paths, paths
    ),
)
sequences = st.lists(tasks, min_size=1, max_size=8)
trees = st.dictionaries(paths, st.one_of(texts, st.none(), st.sampled_from(["-> one", "-> dir", "-> nowhere"])))


def build(root: Path, tree: dict[str, str | None]) -> None:
    """None: a directory, "-> x": a link, else a file; what does not fit together is left out."""
    for name, content in sorted(tree.items()):
        path = root / name
        if not path.parent.is_dir() or path.is_symlink():
            continue
        if content is None:
            path.mkdir()
        elif content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content)
            os.utime(path, ns=(1, 1_600_000_000_000_000_000))


def at(root: Path, sequence: list[Task]) -> list[Task]:
    moved = []
    for task in sequence:
        inner = dict(task["args"])
        for key in ("path", "dest"):
            if key in inner:
                inner[key] = f"{root}/{inner[key]}"
        if "src" in inner and inner.get("state") != "link":
            inner["src"] = f"{root}/{inner['src']}"
        moved.append({"module": task["module"], "args": inner, "ignore_errors": True})
    return moved


def restore(board: Driver, run: str, **more: Any) -> dict[str, Any]:
    by = run_name()
    check = {key: more.pop(key) for key in ("check", "diff") if key in more}
    [result] = board.batch(
        [{"module": "restore_run", "args": {"run": run, "by": by, **more}}], run=by, owner="me@here", **check
    )
    assert not result["failed"], result
    return {**result, "by": by}


law = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def module(name: str, **values: Any) -> Task:
    return {"module": name, "args": args(**values)}


@law
@given(trees, sequences)
@example(  # a second name of a file that goes with its folder
    {"dir": None},
    [
        module("blockinfile", path="one", block="", create=True),
        module("file", path="dir/three", state="hard", src="one"),
        module("file", path="dir", state="absent"),
    ],
)
@example(  # and one that was written to before
    {"dir": None, "one": "a\n"},
    [
        module("file", path="dir/three", state="hard", src="one"),
        module("lineinfile", path="dir/three", line="b"),
        module("file", path="dir", state="absent"),
        module("copy", dest="one", content="c"),
    ],
)
def test_a_restored_run_leaves_the_former_tree(
    board: Driver, state: Path, tree: dict[str, str | None], wanted: list[Task]
) -> None:
    with new_root() as root:
        build(root, tree)
        before = snapshot(root)
        run = run_name()
        results = board.batch(at(root, wanted), run=run, owner="me@here", what="generated")
        after = snapshot(root)
        if not any(one["changed"] for one in results) or not (state / "runs" / run).exists():
            assert after == before, "only what changed nothing but a directory's time leaves no journal"
            return
        assert restore(board, run, check=True, diff=True)["conflicts"] == {}
        assert snapshot(root) == after, "check mode changes nothing"
        undone = restore(board, run)
        assert (undone["conflicts"], undone["lost"]) == ({}, {})
        assert snapshot(root) == before
        again = restore(board, run)
        assert (again["changed"], again["conflicts"]) == (False, {})
        if undone["changed"]:
            redone = restore(board, undone["by"])
            assert redone["conflicts"] == {}
            assert snapshot(root) == after
            assert restore(board, run)["conflicts"] == {}
            assert snapshot(root) == before


@law
@given(trees, sequences)
def test_check_mode_says_what_the_real_run_does(board: Driver, tree: dict[str, str | None], wanted: list[Task]) -> None:
    with new_root() as root:
        build(root, tree)
        before = snapshot(root)
        board.batch([{"module": "file", "args": {"path": str(root)}}])  # a real task: what was predicted before is over
        predicted = board.batch(at(root, wanted), check=True, diff=True)
        assert snapshot(root) == before
        real = board.batch(at(root, wanted), diff=True)
        for one, other, task in zip(predicted, real, wanted, strict=True):
            assert (one["changed"], one["failed"]) == (other["changed"], other["failed"]), (task, one, other)
            for key in ("state", "mode", "checksum"):
                assert one.get(key) == other.get(key), (key, task, one, other)


def test_what_stands_in_the_way(board: Driver, tmp_path: Path, state: Path) -> None:
    for name in ("changed", "kept", "mode"):
        (tmp_path / name).write_text("old\n")
    run = run_name()
    board.batch(
        [
            {"module": "copy", "args": {"dest": f"{tmp_path}/changed", "content": "new\n"}},
            {"module": "copy", "args": {"dest": f"{tmp_path}/kept", "content": "new\n"}},
            {"module": "file", "args": {"path": f"{tmp_path}/mode", "mode": "0600"}},
            {"module": "file", "args": {"path": f"{tmp_path}/dir", "state": "directory"}},
            {"module": "command", "args": {"_raw_params": "echo hello"}},
            {"module": "command", "args": {"_raw_params": "echo secret-word"}, "no_log": True},
        ],
        run=run,
    )
    (tmp_path / "changed").write_text("mine\n")
    (tmp_path / "mode").write_text("grown, as a log does\n")
    (tmp_path / "dir/mine").write_text("")
    [listed] = [one for one in board.task("restore_run", {"list": True})["runs"] if one["run"] == run]
    assert (listed["paths"], listed["others"], listed["undone_by"]) == (4, 2, [])
    result = restore(board, run)
    assert result["conflicts"] == {
        f"{tmp_path}/changed": "it is no longer what the run left",
        f"{tmp_path}/dir": "there is something in it that the run did not make",
    }
    assert result["others"] == ["command echo hello", "command"]
    assert (tmp_path / "kept").read_text() == "old\n"
    assert ((tmp_path / "mode").stat().st_mode & 0o777, (tmp_path / "changed").read_text()) == (0o644, "mine\n")
    assert b"secret-word" not in (state / "runs" / run / "journal/index").read_bytes()
    forced = restore(board, run, force=True)
    assert (tmp_path / "changed").read_text() == "old\n"
    assert list(forced["conflicts"]) == [f"{tmp_path}/dir"]


def test_removed_trees_come_back(board: Driver, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    (tree / "a/b/file").chmod(0o4755)
    (tree / "link").symlink_to("a/b/file")
    (tree / "a").chmod(0o1770)
    before = snapshot(tmp_path)
    run = run_name()
    board.batch([{"module": "file", "args": {"path": str(tree), "state": "absent"}}], run=run)
    assert not tree.exists()
    restore(board, run)
    assert snapshot(tmp_path) == before


def test_a_kept_inode_that_was_written_to_is_not_put_back(board: Driver, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with (tmp_path / "f").open("a") as still_open:
        run = run_name()
        board.batch([{"module": "copy", "args": {"dest": f"{tmp_path}/f", "content": "new"}}], run=run)
        still_open.write("and more")
    result = restore(board, run)
    assert list(result["lost"]) == [f"{tmp_path}/f"]
    assert (tmp_path / "f").read_text() == "new"


def test_a_torn_line_ends_the_journal(tmp_path: Path) -> None:
    index = tmp_path / "index"
    lines = [journal.line_of({"number": number}) for number in range(3)]
    for torn in (lines[2][:-1], lines[2][:9] + b"\0" * 12 + b"\n", b"\0" * 40, b"zzzzzzzz {}\n", lines[2][9:]):
        index.write_bytes(lines[0] + lines[1] + torn)
        assert [one["number"] for one in journal.read(str(index))] == [0, 1]
    index.write_bytes(b"".join(lines))
    assert [one["number"] for one in journal.read(str(index))] == [0, 1, 2]


def test_a_run_that_changes_nothing_leaves_no_journal(cache: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "f").write_text("x")
    with Driver(cache, env={**os.environ, "TVMOPS_AGENT_STATE": str(state)}) as driver:
        driver.batch([{"module": "copy", "args": {"dest": f"{tmp_path}/f", "content": "x"}}], run="quiet")
        driver.batch([{"module": "copy", "args": {"dest": f"{tmp_path}/f", "content": "y"}}], run="quiet", check=True)
    assert not list(state.rglob("journal"))


def test_runs_that_are_not_there(board: Driver) -> None:
    for name in ("no-such-run", "../x"):
        assert board.task("restore_run", {"run": name})["failed"]


def test_the_journal_is_json_of_what_was(board: Driver, tmp_path: Path, state: Path) -> None:
    run = run_name()
    (tmp_path / "f").write_text("old")
    board.batch(
        [{"module": "copy", "args": {"dest": f"{tmp_path}/f", "content": "new"}}],
        run=run,
        owner="me@here",
        what="x.yml",
    )
    header, entry = journal.read(str(state / "runs" / run / "journal/index"))
    assert (header["run"], header["owner"], header["what"]) == (run, "me@here", "x.yml")
    assert (entry["was"]["kind"], entry["now"]["size"]) == ("file", 3)
    assert (state / "runs" / run / "journal" / entry["was"]["kept"]).read_text() == "old"
    assert (state / "runs" / run / "journal").stat().st_mode & 0o077 == 0
    json.dumps(entry)


def test_what_a_killed_agent_left_incomplete_does_not_stay(board: Driver, tmp_path: Path) -> None:
    left = tmp_path / Path(inodes.temporary_name(str(tmp_path / "f"))).name
    left.write_text("half of i")
    board.batch([{"module": "copy", "args": {"dest": f"{tmp_path}/f", "content": "new"}}])
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    left.mkdir()
    assert board.task("copy", {"dest": f"{tmp_path}/f", "content": "newer"})["changed"]
    assert (tmp_path / "f").read_text() == "newer"
