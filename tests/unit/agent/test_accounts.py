"""Users, groups and services as far as no root is needed: parsing, and check mode through the agent."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

import pytest
from driver import Driver
from hypothesis import given
from hypothesis import strategies as st

from tvmops.agent import accounts, systemd


def test_the_same_users_and_groups_as_the_c_library_sees() -> None:
    users, groups = accounts.users(), accounts.groups()
    for entry in pwd.getpwall():
        if entry.pw_name in users:
            user = users[entry.pw_name]
            assert (user.uid, user.gid, user.home, user.shell) == entry[2:4] + entry[5:7]
    assert users["root"].uid == 0
    assert {name: groups[name].gid for name in groups} == {
        entry.gr_name: entry.gr_gid for entry in grp.getgrall() if entry.gr_name in groups
    }


def test_rows_of_nis_and_comments_are_no_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("# x:x:1:1:::\n+::::::\ntvm:x:999:998:TVM:/opt:/bin/sh\nodd:x:a:b:::\n")
    (tmp_path / "etc/group").write_text("video:x:44:tvm,pi\nbroken\n")
    (tmp_path / "etc/shadow").write_text("tvm:$6$abc:1::::::\n")
    assert list(accounts.users(str(tmp_path))) == ["tvm"]
    assert accounts.groups(str(tmp_path))["video"].members == ["tvm", "pi"]
    assert accounts.password_hash("tvm", str(tmp_path)) == "$6$abc"


def test_a_user_that_is_as_wanted_is_left_alone(board: Driver) -> None:
    root = pwd.getpwuid(0)
    args = {"name": "root", "uid": 0, "home": root.pw_dir, "shell": root.pw_shell, "group": "root"}
    assert not board.task("user", args)["changed"]
    assert not board.task("group", {"name": "root", "gid": 0})["changed"]
    assert not board.task("user", {"name": "tvmops-nobody", "state": "absent"})["changed"]


def test_check_mode_says_what_would_be(board: Driver) -> None:
    args = {"name": "tvmops-new", "shell": "/bin/sh", "groups": ["video"], "password": None}
    result = board.task("user", args, check=True, diff=True)
    assert result["changed"]
    assert "tvmops-new" not in accounts.users()
    assert board.task("group", {"name": "tvmops-other"}, check=True)["changed"]
    assert not board.task("group", {"name": "tvmops-new"}, check=True)["changed"], "useradd would have made it"
    assert not {"tvmops-new", "tvmops-other"} & set(accounts.groups())


def test_a_gid_in_use_is_refused(board: Driver) -> None:
    result = board.task("group", {"name": "tvmops-new", "gid": 0}, check=True)
    assert result["failed"]
    assert "root" in result["msg"]


def test_unit_properties() -> None:
    text = "Id=ssh.service\nDescription=a = b\nDropInPaths=\nExecStart={ path=/x\n more }\n"
    assert systemd.parse_show(text) == {
        "Id": "ssh.service",
        "Description": "a = b",
        "DropInPaths": "",
        "ExecStart": "{ path=/x\n more }",
    }


@given(st.text())
def test_no_text_crashes_a_parser(text: str) -> None:
    systemd.parse_show(text)


@given(st.binary())
def test_no_file_crashes_the_account_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "etc").mkdir()
    for name in ("passwd", "group", "shadow"):
        (folder / "etc" / name).write_bytes(content)
    accounts.users(str(folder))
    accounts.groups(str(folder))
    accounts.password_hash("x", str(folder))
