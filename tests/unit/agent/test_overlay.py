"""Check mode on a board where nothing is yet: later tasks see what earlier ones would have made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driver import Driver

from tvmops.agent import accounts

Task = dict[str, Any]


def task(module: str, **args: Any) -> Task:
    return {"module": module, "args": args}


@pytest.fixture
def board(agent: Driver) -> Driver:
    return agent


def test_accounts_and_what_belongs_to_them(board: Driver, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    mine = {**task("copy", dest=f"{home}/mine", content="x"), "become_user": "tvmops-new"}
    results = board.batch(
        [
            task("group", name="tvmops-group", gid=54321),
            task("user", name="tvmops-new", group="tvmops-group", groups=["video"], home=home),
            task("user", name="tvmops-new", group="tvmops-group", groups=["video"], home=home),
            task("file", path=f"{tmp_path}/dir", state="directory", owner="tvmops-new", group="tvmops-group"),
            task("file", path=f"{tmp_path}/dir", state="directory", owner="tvmops-new", group="54321"),
            task("stat", path=home),
            mine,
            task("stat", path=f"{home}/mine"),
            task("user", name="tvmops-new", state="absent"),
            {**task("file", path=f"{tmp_path}/dir", owner="tvmops-new"), "ignore_errors": True},
        ],
        check=True,
        diff=True,
    )
    assert [one["changed"] for one in results[:5]] == [True, True, False, True, False], results
    assert (results[5]["stat"]["pw_name"], results[5]["stat"]["gr_name"]) == ("tvmops-new", "tvmops-group")
    assert (results[6]["changed"], results[7]["stat"]["pw_name"]) == (True, "tvmops-new")
    assert results[9]["failed"]
    assert "tvmops-new" not in accounts.users()
    assert not any(tmp_path.iterdir())


def test_what_a_command_would_do_is_not_held_against_later_tasks(board: Driver, tmp_path: Path) -> None:
    later = task("copy", dest=f"{tmp_path}/made/by/command", content="x")
    assert board.batch([later], check=True)[0]["failed"]
    skipped, copied, found = board.batch(
        [task("command", cmd=f"mkdir -p {tmp_path}/made/by"), later, task("stat", path=f"{tmp_path}/made/by/command")],
        check=True,
    )
    assert (skipped["skipped"], copied["changed"], found["stat"]["exists"]) == (True, True, True)
    assert not any(tmp_path.iterdir())


def test_creates_and_removes_see_what_would_be_there(board: Driver, tmp_path: Path) -> None:
    made = f"{tmp_path}/made"
    results = board.batch(
        [
            task("command", cmd="true", creates=made),
            task("command", cmd="true", creates=made),
            task("command", cmd="true", removes=f"{tmp_path}/file"),
            task("copy", dest=f"{tmp_path}/file", content="x"),
            task("command", cmd="true", removes=f"{tmp_path}/file"),
            task("shell", cmd="true", creates=f"{tmp_path}/fi*"),
            task("file", path=f"{tmp_path}/file", state="absent"),
            task("shell", cmd="true", creates=f"{tmp_path}/fi*"),
        ],
        check=True,
    )
    assert [one["changed"] for one in results] == [True, False, False, True, True, False, True, True], results
    looking = {**task("command", cmd="true", creates=f"{tmp_path}/later"), "changed_when": False}
    making = task("command", cmd="true", creates=f"{tmp_path}/later")
    assert [one["changed"] for one in board.batch([looking, making, making], check=True)] == [False, True, False]


def test_unknown_content_fails_nothing(board: Driver, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("new\n")
    (tmp_path / "dest").write_text("old\n")
    fetched = f"{tmp_path}/fetched"
    results = board.batch(
        [
            task("get_url", url=source.as_uri(), dest=fetched, mode="0600"),
            task("stat", path=fetched, get_checksum=False),
            task("lineinfile", path=fetched, line="more"),
            task("copy", src=fetched, remote_src=True, dest=f"{tmp_path}/dest"),
            task("get_url", url=source.as_uri(), dest=fetched, mode="0644"),
        ],
        check=True,
        diff=True,
    )
    assert not any(one["failed"] for one in results), results
    assert (results[1]["stat"]["exists"], results[1]["stat"]["mode"]) == (True, "0600")
    assert (results[2]["unknown"], results[3]["unknown"], results[4]["changed"]) == (True, True, True)


def test_a_single_check_task_in_a_real_run_predicts_nothing_for_real_ones(board: Driver, tmp_path: Path) -> None:
    path = f"{tmp_path}/f"
    predicted = {**task("copy", dest=path, content="a"), "check": True}
    results = board.batch([predicted, task("stat", path=path), predicted, task("copy", dest=path, content="a")])
    assert [one["changed"] for one in results] == [True, False, True, True]
    assert not results[1]["stat"]["exists"]
    assert Path(path).exists()


def test_predictions_live_as_long_as_the_agent(board: Driver, tmp_path: Path) -> None:
    board.batch([task("file", path=f"{tmp_path}/d", state="directory")], check=True)
    assert board.batch([task("copy", dest=f"{tmp_path}/d/f", content="x")], check=True)[0]["changed"]
    assert not board.batch([task("copy", dest=f"{tmp_path}/d/f", content="x")], check=True)[0]["changed"]


def test_a_download_is_compared_with_what_is_there(board: Driver, tmp_path: Path) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.write_bytes(b"x" * 300_000 + b"end")
    fetch = task("get_url", url=source.as_uri(), dest=str(dest), force=True)
    verdicts = []
    for content in (
        b"x" * 300_000 + b"end",
        b"x" * 300_000,
        b"x" * 300_000 + b"end and more",
        b"x" * 300_000 + b"END",
        b"",
    ):
        dest.write_bytes(content)
        verdicts.append(board.batch([fetch], check=True)[0]["changed"])
        assert dest.read_bytes() == content
        assert board.batch([fetch])[0]["changed"] == verdicts[-1]
    assert verdicts == [False, True, True, True, True]


def test_programs_and_lists_that_earlier_tasks_may_bring(board: Driver, tmp_path: Path) -> None:
    listed = f"{tmp_path}/requirements.txt"
    pip = {"requirements": listed, "executable": "no-such-pip"}
    [alone] = board.batch([task("pip", name="x", executable="no-such-pip")], check=True)
    assert "no program no-such-pip" in alone["msg"]
    results = board.batch(
        [
            task("copy", dest=listed, content="some-package==1.0\n"),
            {**task("pip", **pip), "ignore_errors": True},
            task("command", cmd="install-pip"),
            task("pip", **pip),
            task("pip", requirements=listed, virtualenv=f"{tmp_path}/venv"),
        ],
        check=True,
    )
    assert "no program no-such-pip" in results[1]["msg"]
    assert [(one["changed"], one["failed"]) for one in results[3:]] == [(True, False)] * 2, results
    assert results[3]["unknown"]
    assert not any(tmp_path.iterdir())
