"""Laws that hold for every module of the agent core, tried with generated tasks on a real agent."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvmops.agent.modules import load

Task = dict[str, Any]
modes = st.sampled_from(["0644", "0600", "0755", "u=rw,g=r,o=", "a+x", "g-w,o-rwx"])
texts = st.text("abc =#\n\t\u00e4", max_size=30)
lines = st.text("abc =#\u00e4", min_size=1, max_size=8)


@contextmanager
def new_root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tvmops-law-") as root:
        yield Path(root)


def snapshot(root: Path) -> list[tuple[object, ...]]:
    """Everything about a tree that a task could change."""
    found: list[tuple[object, ...]] = []
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        found.append((str(path), status.st_mode, status.st_mtime_ns, status.st_uid, status.st_ino, content, target))
    return found


def file_tasks(path: str) -> st.SearchStrategy[list[Task]]:
    """Tasks for one path that do not contradict each other."""
    directory = st.builds(
        lambda mode: [{"module": "file", "args": {"path": path, "state": "directory", "mode": mode}}],
        st.sampled_from(["0755", "0700", "u=rwx,go="]),
    )
    copied = st.builds(
        lambda text, mode: [{"module": "copy", "args": {"dest": path, "content": text, "mode": mode}}], texts, modes
    )
    edited = st.builds(
        lambda wanted, after: [
            {"module": "lineinfile", "args": {"path": path, "line": line, "create": True, "insertafter": after}}
            for line in wanted
        ],
        st.lists(lines, min_size=1, max_size=4),
        st.sampled_from([None, "EOF", "^a", "BOF"]),
    )
    replaced = st.builds(
        lambda key, value: [
            {
                "module": "lineinfile",
                "args": {"path": path, "regexp": f"^{key}=", "line": f"{key}={value}", "create": True},
            }
        ],
        st.sampled_from(["a", "b"]),
        lines,
    )
    linked = st.builds(
        lambda target: [{"module": "file", "args": {"path": path, "state": "link", "src": target, "force": True}}],
        st.sampled_from(["elsewhere", "/", "."]),
    )
    touched = st.just(
        [
            {
                "module": "file",
                "args": {
                    "path": path,
                    "state": "touch",
                    "mode": "0640",
                    "modification_time": "preserve",
                    "access_time": "preserve",
                },
            }
        ]
    )
    absent = st.just([{"module": "file", "args": {"path": path, "state": "absent"}}])
    return st.one_of(directory, copied, edited, replaced, linked, touched, absent)


def at(root: Path, tasks: list[Task]) -> list[Task]:
    """The tasks with their paths inside `root`."""
    moved = []
    for task in tasks:
        args = {key: f"{root}/{value}" if key in ("path", "dest") else value for key, value in task["args"].items()}
        moved.append({**task, "args": args})
    return moved


sequences = st.tuples(*[file_tasks(name) for name in ("one", "two", "dir/three", "four")]).map(
    lambda groups: [{"module": "file", "args": {"path": "dir", "state": "directory"}}, *[t for g in groups for t in g]]
)
existing = st.dictionaries(st.sampled_from(["one", "two", "four"]), texts)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(existing, sequences)
def test_any_sequence_converges_and_check_mode_writes_nothing(
    board: Driver, old: dict[str, str], tasks: list[Task]
) -> None:
    with new_root() as root:
        for name, text in old.items():
            (root / name).write_text(text)
        tolerant = [{**task, "ignore_errors": True} for task in at(root, tasks)]
        before = snapshot(root)
        board.batch(tolerant, check=True, diff=True)
        assert snapshot(root) == before
        first = board.batch(tolerant)
        after = snapshot(root)
        second = board.batch(tolerant)
        assert [one["changed"] for one in second] == [False] * len(tasks)
        assert [one["failed"] for one in second] == [one["failed"] for one in first]
        assert snapshot(root) == after


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(lines, max_size=6),
    lines,
    st.sampled_from(["present", "absent"]),
    st.fixed_dictionaries(
        {},
        optional={
            "firstmatch": st.booleans(),
            "insertafter": st.sampled_from(["EOF", "BOF", "a", "^b", "=$"]),
            "search_string": st.sampled_from(["a", "=", "#"]),
        },
    ),
)
def test_lineinfile_is_idempotent(board: Driver, old: list[str], line: str, state: str, more: dict[str, Any]) -> None:
    if more.get("search_string", "") not in line:
        del more["search_string"]  # such a task finds its next victim in the next run, as in Ansible
    with new_root() as root:
        path = root / "f"
        path.write_text("\n".join(old))
        args = {"path": str(path), "line": line, "state": state, **more}
        first = board.task("lineinfile", args)
        assert not first["failed"], first
        written = path.read_bytes()
        assert not board.task("lineinfile", args)["changed"]
        assert path.read_bytes() == written
        shown = written.decode().splitlines()
        if state == "present":
            assert line in shown
        else:
            assert not any(
                more.get("search_string", line) in one if "search_string" in more else line == one for one in shown
            )


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in (("release/lib/libtvm_runtime.so", b"ELF"), ("release/VERSION", b"0.27\n")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 1_700_000_000
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


PREPARE = {
    "template": ("src", b"rendered\n"),
    "unarchive": ("src", archive()),
}


ONCE = ["copy", "template", "file", "lineinfile", "get_url", "unarchive", "command", "shell"]
ONCE += ["blockinfile", "replace", "apt_repository"]


@pytest.mark.parametrize("name", ONCE)
def test_the_example_changes_once(board: Driver, tmp_path: Path, name: str) -> None:
    """Each module's documented example, with its paths moved into a scratch directory."""
    args = dict(load(name).EXAMPLE)
    if name == "unarchive":
        del args["creates"]  # its other way to decide: by the members
    for key in ("path", "dest", "creates", "filename"):
        if key in args:
            moved = tmp_path / str(args[key]).lstrip("/")
            moved.parent.mkdir(parents=True, exist_ok=True)
            if key in ("dest", "creates"):
                args["cmd"] = str(args.get("cmd", "")).replace(args[key], str(moved)) or None
            args[key] = str(moved)
    args = {key: value for key, value in args.items() if value is not None}
    if name == "unarchive":
        Path(args["dest"]).mkdir()
    if name == "replace":
        Path(args["path"]).write_text("192.0.2.1 old.board\n")
    if name in PREPARE:
        args["_blob"] = board.blob(PREPARE[name][1])
    before = snapshot(tmp_path)
    assert board.task(name, args, check=True, diff=True)["changed"]
    assert snapshot(tmp_path) == before
    assert board.task(name, args)["changed"]
    again = board.task(name, args)
    assert (again["changed"], again["failed"]) == (False, False)


@pytest.mark.parametrize("name", ["stat", "wait_for", "slurp", "find"])
def test_the_example_of_a_module_that_only_looks(board: Driver, tmp_path: Path, name: str) -> None:
    args = dict(load(name).EXAMPLE)
    if name == "wait_for":
        args["timeout"] = 0.2  # whether sshd runs here or not, nothing is changed
    before = snapshot(tmp_path)
    assert not board.task(name, args)["changed"]
    assert snapshot(tmp_path) == before
