"""known_hosts lines, against what ssh-keygen makes of them."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.connection import knownhosts
from tvmops.connection.knownhosts import HostKey

BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)
LINE = "ssh-ed25519 " + base64.b64encode(BLOB).decode()

names = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("hosts", "name", "expected"),
    [
        ("board", "board", True),
        ("Board", "bOARD", True),
        ("a,board", "board", True),
        ("board", "boarding", False),
        ("*.example", "x.example", True),
        ("*.example,!x.example", "x.example", False),
        ("!x.example,*.example", "x.example", False),
        ("10.0.0.?", "10.0.0.7", True),
        ("[10.0.0.1]:2200", "[10.0.0.1]:2200", True),
        ("[10.0.0.1]:2200", "10.0.0.1", False),
        ("[10.0.0.*]:*", "[10.0.0.1]:2200", True),
        ("[ab]oard", "board", False),
        ("|1|broken", "board", False),
        ("|1|!!|x", "board", False),
    ],
)
def test_matching(hosts: str, name: str, expected: bool) -> None:
    assert knownhosts.matches(hosts, name) is expected


@given(names, names)
def test_a_hashed_name_matches_only_itself(name: str, other: str) -> None:
    stored = knownhosts.hashed(name)
    assert knownhosts.matches(stored, name)
    assert knownhosts.matches(stored, other) is (name == other)


def test_ssh_keygen_finds_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "made" / "known_hosts"
    key = HostKey("ssh-ed25519", BLOB, "[board]:2200", "board:2200")
    knownhosts.append(path, key.line)
    knownhosts.append(path, f"{knownhosts.hashed('hidden')} {LINE}")
    for name in ("[board]:2200", "hidden"):
        subprocess.run(["ssh-keygen", "-F", name, "-f", str(path)], check=True, capture_output=True)
    listed = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True)
    assert key.fingerprint in listed.stdout
    assert path.parent.stat().st_mode & 0o777 == 0o700


lines = st.lists(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r"), max_size=60)
    | st.builds("{} {}".format, names, st.just(LINE))
    | st.builds("@revoked {} {}".format, names, st.just(LINE)),
    max_size=12,
)


@given(lines=lines, name=names)
def test_any_file_can_be_read_changed_and_read_again(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], name: str
) -> None:
    path = tmp_path_factory.mktemp("kh") / "known_hosts"
    path.write_text("\n".join(lines), encoding="utf-8")
    before = knownhosts.find([name], [path])
    knownhosts.append(path, f"{name} {LINE}")
    after = knownhosts.find([name], [path])
    assert len(after) == len(before) + 1
    plain = [entry for entry in after if not entry.marker]
    others = [line for line in path.read_text(encoding="utf-8").splitlines() if name not in line]
    knownhosts.remove(path, [name], [entry.line for entry in plain if entry.hosts == name])
    left = knownhosts.find([name], [path])
    assert not [entry for entry in left if not entry.marker and entry.hosts == name]
    kept = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in kept if name not in line] == others


def test_a_missing_file_is_empty_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert knownhosts.find(["board"], [tmp_path / "none"]) == []
    (tmp_path / "folder").mkdir()
    with pytest.raises(knownhosts.HostKeyError, match="cannot read known host keys"):
        knownhosts.find(["board"], [tmp_path / "folder"])


fields = st.sampled_from(
    [
        "board",
        "Board,other",
        "other",
        "*",
        "b?ard",
        "!board,*",
        "[board]:22",
        knownhosts.hashed("board", b"x" * 20),
        "a,a,board",
    ]
)


@given(
    st.lists(st.lists(fields, max_size=6), max_size=3), st.lists(st.sampled_from(["board", "other", "a"]), max_size=2)
)
def test_finding_is_matching_every_line_in_order(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], asked: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("known")
    paths = []
    for number, lines in enumerate(files):
        paths.append(folder / str(number))
        paths[-1].write_text("".join(f"{line} {LINE}\n" for line in lines))
    every = [(path, n, line) for path, lines in zip(paths, files, strict=True) for n, line in enumerate(lines, 1)]
    expected = [(path, n) for name in asked for path, n, line in every if knownhosts.matches(line, name)]
    assert [(entry.path, entry.line) for entry in knownhosts.find(asked, paths)] == expected


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    for hosts in ("board", "other", "board,x"):
        path.write_text(f"{hosts} {LINE}\n")
        assert len(knownhosts.find(["board"], [path])) == ("board" in hosts)
    knownhosts.append(path, f"board {LINE}")
    assert len(knownhosts.find(["board"], [path])) == 2
    path.unlink()
    assert knownhosts.find(["board"], [path]) == []
