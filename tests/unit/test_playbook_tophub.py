"""tophub_fetch.py with every kind of source, right and wrong; and what playbooks/vars/tophub.yml knows."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import json
import os
import subprocess
import tarfile
import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_program import CUT_OFF, PROJECT, hanging, odd_server, program, run

NAMES = ["arm_cpu_v0.08.log", "opencl_v0.04.log"]
TEXTS = {name: f'{{"entity": "{name}"}}\n'.encode() for name in NAMES}
KNOWN: dict[str, Any] = {name: {"sha256": hashlib.sha256(text).hexdigest()} for name, text in TEXTS.items()}
DATA = yaml.safe_load((PROJECT / "playbooks/vars/tophub.yml").read_text())
fetcher = program("tophub_fetch")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as the repository is."""
    folder = tmp_path / "repository" / "tophub"
    folder.mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text)
    return folder.parent


@pytest.fixture
def server(source: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(source))) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def fetch(into: Path, source: dict[str, Any], rc: int = 0, names: list[str] = NAMES, **asked: Any) -> dict[str, Any]:
    question = {"files": names, "known": KNOWN, "into": str(into), "source": source, **asked}
    status, printed = run(fetcher, json.dumps(question))
    assert status == rc, printed
    answer: dict[str, Any] = json.loads(printed)
    return answer


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_from_a_folder_and_then_without_one(source: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    assert fetch(into, {"kind": "folder", "path": str(source)})["fetched"] == NAMES
    assert held(into) == TEXTS
    again = fetch(into, {"kind": "folder", "path": "/nonexistent"})
    assert (again["changed"], again["fetched"]) == (False, [])
    (into / NAMES[0]).write_bytes(b"torn")
    assert fetch(into, {"kind": "folder", "path": str(source / "tophub")})["fetched"] == NAMES[:1]
    assert held(into) == TEXTS


def test_from_git(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "logs")
    commit = git(source, "rev-parse", "HEAD")
    # Later commits do not matter.
    (source / "tophub" / NAMES[0]).write_text("another")
    git(source, "commit", "-qam", "more")
    fetch(tmp_path / "into", {"kind": "git", "url": source.as_uri(), "commit": commit})
    assert held(tmp_path / "into") == TEXTS
    wrong = fetch(tmp_path / "other", {"kind": "git", "url": source.as_uri(), "commit": "0" * 40}, rc=1)
    assert f"it has no {NAMES[0]}; it has no {NAMES[1]}" in wrong["problem"]
    wrong = fetch(tmp_path / "other", {"kind": "git", "url": str(tmp_path / "gone"), "commit": commit}, rc=1)
    assert "gone" in wrong["problem"]
    assert held(tmp_path / "other") == {}


def test_from_an_archive(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "tophub.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, "tophub-main")
        evil = tarfile.TarInfo(f"../../{NAMES[0]}")
        evil.type, evil.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(evil)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fetch(tmp_path / "into", {"kind": "archive", "path": str(path), "sha256": digest})
    assert held(tmp_path / "into") == TEXTS
    wrong = fetch(tmp_path / "other", {"kind": "archive", "path": str(path), "sha256": "ab" * 32}, rc=1)
    assert f"has the SHA-256 {digest}, not abab" in wrong["problem"]
    path.write_bytes(path.read_bytes()[:60])
    wrong = fetch(tmp_path / "other", {"kind": "archive", "path": str(path)}, rc=1)
    assert "is no archive that can be read" in wrong["problem"]
    assert held(tmp_path / "other") == {}


def test_from_a_web_server(source: Path, server: str, tmp_path: Path) -> None:
    fetch(tmp_path / "into", {"kind": "url", "url": f"{server}/tophub/"})
    assert held(tmp_path / "into") == TEXTS
    wrong = fetch(tmp_path / "other", {"kind": "url", "url": f"{server}/elsewhere"}, rc=1)
    assert wrong["problem"] == f"url {server}/elsewhere: it has no {NAMES[0]}; it has no {NAMES[1]}"
    wrong = fetch(tmp_path / "other", {"kind": "url", "url": "http://127.0.0.1:1"}, rc=1)
    assert "Connection refused" in wrong["problem"]


def test_a_server_that_breaks_the_protocol_is_a_reason(tmp_path: Path) -> None:
    with odd_server({f"/{name}": CUT_OFF for name in NAMES}) as url:
        assert "IncompleteRead" in fetch(tmp_path / "into", {"kind": "url", "url": url}, rc=1)["problem"]


def test_an_archive_that_is_damaged_in_the_middle_of_a_file(source: Path, tmp_path: Path) -> None:
    (source / "tophub" / NAMES[0]).write_bytes(b"x" * 99999)
    whole, path = tmp_path / "whole.tar", tmp_path / "tophub.tar.gz"
    with tarfile.open(whole, "w") as archive:
        archive.add(source / "tophub" / NAMES[0], NAMES[0])
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(whole.read_bytes()[:50000]) + packer.flush(zlib.Z_SYNC_FLUSH)
    path.write_bytes(begun + b"\x07" * 50000)  # a block of a kind that there is not
    wrong = fetch(tmp_path / "into", {"kind": "archive", "path": str(path)}, rc=1)
    assert "is no archive that can be read: Error -3 while decompressing" in wrong["problem"]


def test_a_git_that_hangs_is_left_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging(tmp_path / "bin", "git")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(fetcher, "GIT_SECONDS", 0.2)
    begin = time.monotonic()
    wrong = fetch(tmp_path / "into", {"kind": "git", "url": "x", "commit": "0" * 40}, rc=1)
    assert "took longer than" in wrong["problem"]
    assert time.monotonic() - begin < 10


def test_another_run_that_keeps_the_folder_is_not_waited_for_for_ever(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher, "LOCK_SECONDS", 0.3)
    (tmp_path / "into").mkdir()
    with (tmp_path / "into" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wrong = fetch(tmp_path / "into", {"kind": "folder", "path": str(source)}, rc=1)
    assert "another run has had it" in wrong["problem"]


def test_a_file_with_another_content_is_named_and_nothing_is_kept(source: Path, tmp_path: Path) -> None:
    (source / "tophub" / NAMES[1]).write_text("changed")
    wrong = fetch(tmp_path / "into", {"kind": "folder", "path": str(source)}, rc=1)
    assert f"its {NAMES[1]} has the SHA-256" in wrong["problem"]
    assert held(tmp_path / "into") == {}


@pytest.mark.parametrize(
    ("names", "asked", "told"),
    [
        ([], {}, "no file was asked for"),
        (["../../etc/passwd"], {}, "these are no names of tophub's files"),
        (["mine_v1.0.log"], {}, "no SHA-256 is known for mine_v1.0.log; give it in the variable tophub_sha256"),
        (NAMES, {"source": {"kind": "ftp"}}, "its kind is one of archive, folder, git, url"),
        (NAMES, {"source": {"kind": "folder", "path": "/nonexistent"}}, "there is no folder /nonexistent"),
        (NAMES, {"source": {"kind": "git", "url": "x", "commit": "main"}}, "commit is 40 hexadecimal digits"),
        (NAMES, {"source": {"kind": "git", "url": "x"}}, "tophub_source of kind git needs commit"),
        (NAMES, {"source": {"kind": "folder"}}, "tophub_source of kind folder needs path"),
        (NAMES, {"source": {"kind": "archive"}}, "tophub_source of kind archive needs path or url"),
        (NAMES, {"source": {"kind": "url"}}, "tophub_source of kind url needs url"),
        (NAMES, {"source": "/srv/tophub"}, "tophub_source: a mapping with kind and more, not '/srv/tophub'"),
    ],
)
def test_what_is_refused(tmp_path: Path, names: list[str], asked: dict[str, Any], told: str) -> None:
    source = asked.pop("source", {"kind": "folder", "path": "/nonexistent"})
    assert told in fetch(tmp_path / "into", source, rc=1, names=names)["problem"]


def test_a_hash_of_ones_own(source: Path, tmp_path: Path) -> None:
    (source / "mine_v1.0.log").write_text("mine")
    digest = hashlib.sha256(b"mine").hexdigest().upper()
    asked = {"names": ["mine_v1.0.log"], "known": {"mine_v1.0.log": digest}}
    fetch(tmp_path / "into", {"kind": "folder", "path": str(source)}, **asked)
    assert held(tmp_path / "into") == {"mine_v1.0.log": b"mine"}


def test_every_file_that_a_release_looks_for_is_known() -> None:
    known = DATA["tophub_known"]
    assert set(DATA["tophub_usual_files"]) <= set(known)
    assert all(fetcher.NAME.match(name) and len(entry["sha256"]) == 64 for name, entry in known.items())
    releases = yaml.safe_load((PROJECT / "stacks/versions.yml").read_text())
    wanted = {name for release in releases.values() for name in release.get("tophub") or ()}
    assert "arm_cpu_v0.08.log" in wanted
    assert wanted <= set(known)
    stacks = [yaml.safe_load(path.read_text()) for path in (PROJECT / "stacks").glob("relay-*.yml")]
    assert {name for stack in stacks for name in stack.get("tophub") or ()} <= set(known)
