"""A team's store on a host behind ssh: put, found by another controller, one builder at a time; checked host keys."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ssh_servers import Sshd

from tvmops.errors import HostKeyError, HostUnreachable
from tvmops.stack.artifact import Artifact, manifest_key, write_zst
from tvmops.stack.store import Store

BUILD = "0123456789abcdef"


@pytest.fixture
def nas(make_sshd: Callable[..., Sshd]) -> Sshd:
    return make_sshd(Subsystem="sftp internal-sftp")


def open_store(nas: Sshd, folder: Path) -> Store:
    return Store(f"sftp://{nas.user}@127.0.0.1:{nas.port}{folder}", nas.vars())


def make_artifact(folder: Path) -> Artifact:
    text = b"library"
    files = {"lib/libtvm_runtime.so": {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)}}
    manifest = {"format": 1, "part": "runtime", "arch": "aarch64", "files": files}
    path = folder / "packed.tar.zst"
    with path.open("wb") as out:
        write_zst(out, {"lib/libtvm_runtime.so": text})
    return Artifact(manifest_key(manifest), path, path.stat().st_size, manifest)


def test_what_one_controller_puts_there_another_one_gets(
    nas: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "mine"))
    made = make_artifact(tmp_path)
    mine = open_store(nas, tmp_path / "srv")
    assert mine.find(BUILD) is None and mine.keys() == []
    with mine.building(BUILD):
        assert (tmp_path / "srv" / "builds" / f"{BUILD}.building").exists()
        mine.put(made, BUILD)
    assert sorted(path.name for path in (tmp_path / "srv").rglob("*") if path.is_file()) == sorted(
        [f"{BUILD}.json", f"{made.key}.json", f"{made.key}.tar.zst"]
    )
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "theirs"))
    theirs = open_store(nas, tmp_path / "srv")
    found = theirs.find(BUILD)
    assert found is not None and found.path.is_relative_to(tmp_path / "theirs")
    assert found.path.read_bytes() == made.path.read_bytes()
    for store in (mine, theirs):
        store.close()


def test_two_controllers_do_not_build_the_same_at_once(
    nas: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, says for whom, and finds what it made. (Their caches' locks are apart.)"""
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "mine"))
    made = make_artifact(tmp_path)
    mine = open_store(nas, tmp_path / "srv")
    said: list[str] = []
    found: list[Artifact | None] = []
    ready = threading.Event()

    def second() -> None:
        theirs = open_store(nas, tmp_path / "srv")
        with theirs.building(BUILD, said.append):
            found.append(theirs.find(BUILD))
        theirs.close()

    with mine.building(BUILD):
        monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "theirs"))
        thread = threading.Thread(target=second)
        thread.start()
        ready.wait(3.0)
        assert not found and any("who builds the same thing" in text for text in said)
        mine.put(made, BUILD)
    thread.join(60)
    assert found and found[0] is not None and found[0].key == made.key
    mine.close()


def test_a_host_whose_key_is_unknown_gets_nothing(nas: Sshd, tmp_path: Path) -> None:
    nas.known_hosts.write_text("")
    with pytest.raises(HostKeyError):
        open_store(nas, tmp_path / "srv")
    assert not (tmp_path / "srv").exists()


def test_a_host_that_is_not_there_is_one_message(nas: Sshd, tmp_path: Path) -> None:
    nas.stop()
    with pytest.raises(HostUnreachable):
        open_store(nas, tmp_path / "srv")
