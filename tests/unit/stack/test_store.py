"""The store: whole artifacts or none, checked by hash, one builder at a time, on different file systems."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tvmops.errors import StackError
from tvmops.stack import load_stack
from tvmops.stack.artifact import Artifact, manifest_key, write_zst
from tvmops.stack.store import Store, store_url
from tvmops.stack.store_files import StoreFiles
from tvmops.stack.store_lease import Pace, leased

BUILD = "0123456789abcdef"
QUICK = Pace(beat=0.1, stale=0.6, settle=0.05)


def make_artifact(folder: Path, text: bytes = b"library", **more: Any) -> Artifact:
    files = {"lib/libtvm_runtime.so": {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)}}
    manifest = {"format": 1, "part": "runtime", "arch": "aarch64", "files": files, **more}
    key = manifest_key(manifest)
    folder.mkdir(exist_ok=True)
    path = folder / f"{key}.tar.zst"
    with path.open("wb") as out:
        write_zst(out, {"lib/libtvm_runtime.so": text})
    return Artifact(key, path, path.stat().st_size, manifest)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TVMOPS_STORE", raising=False)
    return tmp_path / "cache"


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = {"folder": str(tmp_path / "store"), "file": f"file://{tmp_path}/store", "memory": "memory://team/store"}
    yield Store(urls[request.param])
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_put_find_get_list(store: Store, tmp_path: Path) -> None:
    assert store.find(BUILD) is None and store.keys() == []
    made = make_artifact(tmp_path / "made")
    put = store.put(made, BUILD)
    assert (put.key, put.manifest) == (made.key, made.manifest)
    found = store.find(BUILD)
    assert found is not None and found.path.read_bytes() == made.path.read_bytes()
    assert found.size == made.size
    assert store.keys() == [made.key]
    assert store.manifests() == {made.key: made.manifest}
    assert store.put(made, "another-build-key").key == made.key


def test_another_controller_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_artifact(tmp_path / "made")
    Store("memory://team").put(made, BUILD)
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "other-cache"))
    found = Store("memory://team").find(BUILD)
    assert found is not None and found.path.parent == tmp_path / "other-cache" / "artifacts"
    # What is here already and whole is not fetched again.
    MemoryFileSystem.store[f"/team/{made.key}.tar.zst"].truncate(3)
    assert Store("memory://team").get(made.key).path == found.path


def test_a_board_gets_what_was_stored_last_and_runs_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = load_stack("relay-0.19")
    facts = {"ansible_architecture": "aarch64", "tvmops_glibc": "2.31"}
    with pytest.raises(StackError, match=r"no artifact of stack relay-0.19 for a board of aarch64, glibc 2.31"):
        store.newest_for(stack, facts)
    for number, (glibc, name) in enumerate([("2.17", "relay-0.19"), ("2.27", "relay-0.19"), ("2.17", "relay-0.8")]):
        monkeypatch.setattr(time, "time", lambda number=number: 1000.0 + number)
        store.put(make_artifact(tmp_path / "made", needs={"GLIBC": glibc}, stack=name))
    assert store.newest_for(stack, facts).manifest["needs"] == {"GLIBC": "2.27"}
    assert store.newest_for(stack, {**facts, "tvmops_glibc": "2.19"}).manifest["needs"] == {"GLIBC": "2.17"}
    with pytest.raises(StackError, match=r"it needs GLIBC_2.27; the board has 2.13"):
        store.newest_for(stack, {**facts, "tvmops_glibc": "2.13"})


def test_a_board_gets_what_was_built_with_its_own_options(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what was built last for others: a runtime with OpenCL does not load where there is none."""
    stack, facts = load_stack("relay-0.19"), {"ansible_architecture": "aarch64", "tvmops_glibc": "2.31"}
    usual = stack.options["runtime"]

    def stored(when: int, **options: str) -> str:
        monkeypatch.setattr(time, "time", lambda: 1000.0 + when)
        return store.put(make_artifact(tmp_path / "made", stack=stack.name, options={**usual, **options})).key

    plain, opencl, other = stored(1), stored(2, USE_OPENCL="ON"), stored(3, USE_BLAS="openblas")
    assert store.newest_for(stack, facts).key == plain
    assert store.newest_for(stack, facts, {"USE_OPENCL": "on"}).key == opencl
    assert store.newest_for(stack, facts, {"USE_BLAS": "openblas"}).key == other
    # Built with --set, it has what the board wants and more: taken where nothing fits better.
    more = stored(4, USE_OPENCL="ON", USE_SORT="OFF")
    assert store.newest_for(stack, facts, {"USE_SORT": "OFF"}).key == more
    with pytest.raises(StackError, match=r"it was built with USE_BLAS=OFF, the board wants mkl"):
        stored(5, USE_BLAS="OFF")
        store.newest_for(stack, facts, {"USE_BLAS": "mkl"})


def test_an_unknown_key_is_one_message(store: Store) -> None:
    for key in ("feedfeedfeedfeed", "../../etc/passwd", ""):
        with pytest.raises(StackError, match="has no artifact"):
            store.get(key)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_archive_is_never_given(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "store"))
    made = store.put(make_artifact(tmp_path / "made"), BUILD)
    data = bytearray(made.path.read_bytes())
    if damage == "gone":
        made.path.unlink()
    else:
        data[-5] ^= 1
        made.path.write_bytes(data if damage == "flipped" else data[:-5])
    with pytest.raises(StackError, match="is missing" if damage == "gone" else "is damaged"):
        store.find(BUILD)
    # Built again, it takes the damaged one's place.
    assert store.put(make_artifact(tmp_path / "made"), BUILD).path.is_file()
    assert store.find(BUILD) is not None


def test_damage_on_the_way_leaves_nothing_in_the_cache(tmp_path: Path, cache: Path) -> None:
    made = make_artifact(tmp_path / "made")
    Store("memory://far").put(made, BUILD)
    (cache / "artifacts" / f"{made.key}.tar.zst").unlink()
    stored = MemoryFileSystem.store[f"/far/{made.key}.tar.zst"]
    stored.seek(0)
    stored.write(b"\0" * 8)
    with pytest.raises(StackError, match="is damaged"):
        Store("memory://far").get(made.key)
    assert [path.name for path in (cache / "artifacts").glob(f"{made.key}*")] == []


def test_a_changed_manifest_is_noticed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    made = store.put(make_artifact(tmp_path / "made"))
    about = tmp_path / "store" / f"{made.key}.json"
    entry = json.loads(about.read_text())
    entry["manifest"]["arch"] = "x86_64"
    about.write_text(json.dumps(entry))
    with pytest.raises(StackError, match="is damaged"):
        store.get(made.key)
    about.write_text("{")
    with pytest.raises(StackError, match="is damaged"):
        store.get(made.key)


def test_what_was_half_written_is_not_there(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_artifact(tmp_path / "made")
    written: list[str] = []
    original = StoreFiles.write

    def write(self: StoreFiles, name: str, source: bytes | Path) -> None:
        if name.endswith(".json"):
            raise KeyboardInterrupt  # pulled out between the archive and what says that it is there
        written.append(name)
        original(self, name, source)

    monkeypatch.setattr(StoreFiles, "write", write)
    with pytest.raises(KeyboardInterrupt):
        store.put(made, BUILD)
    assert written == [f"{made.key}.tar.zst"]
    assert store.keys() == [] and store.find(BUILD) is None
    monkeypatch.setattr(StoreFiles, "write", original)
    store.put(made, BUILD)
    assert store.find(BUILD) is not None


def test_an_interrupted_write_leaves_no_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = StoreFiles(str(tmp_path / "store"))
    local = type(files._files)

    def half(self: Any, source: str, target: str, **more: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local, "put_file", half)
    source = tmp_path / "source"
    source.write_bytes(b"whole")
    with pytest.raises(StackError, match=r"cannot be written \(x.bin\): .*No space left"):
        files.write("x.bin", source)
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [("nosuch://x", "no protocol 'nosuch'"), ("/dev/null/store", "cannot be written")],
)
def test_a_store_that_cannot_be_used_is_one_message(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=message):
        Store(url).put(make_artifact(tmp_path / "made"))


def test_which_store_is_meant(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert store_url() == str(cache / "artifacts")
    monkeypatch.setenv("TVMOPS_STORE", "memory://team")
    assert store_url() == "memory://team"
    assert store_url("/mnt/store") == "/mnt/store"


def _build_once(url: str, folder: Path, began: Any, log: Any) -> None:
    store = Store(url)
    began.wait(20)
    with store.building(BUILD):
        if store.find(BUILD) is None:
            log.put("built")
            time.sleep(0.5)
            store.put(make_artifact(folder), BUILD)
        else:
            log.put("found")


def test_two_builds_of_one_key_at_once_make_one_and_wait_for_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    began, log = context.Event(), context.Queue()
    both = [
        context.Process(target=_build_once, args=(str(tmp_path / "store"), tmp_path / f"made{n}", began, log))
        for n in range(2)
    ]
    for process in both:
        process.start()
    began.set()
    assert sorted(log.get(timeout=30) for _ in both) == ["built", "found"]
    for process in both:
        process.join(20)
        assert process.exitcode == 0


def _hold(url: str, held: Any) -> None:
    with Store(url).building(BUILD):
        held.set()
        time.sleep(60)


def test_a_builder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path / "store"), held))
    holder.start()
    assert held.wait(20)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(20)
    started = time.monotonic()
    with Store(str(tmp_path / "store")).building(BUILD):
        assert time.monotonic() - started < 5


def test_a_lease_is_waited_for_and_said(tmp_path: Path) -> None:
    files, said = StoreFiles("memory://lease1"), []
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with leased(files, "x.building", lambda _: None, 20, QUICK):
            inside.set()
            time.sleep(1.5)  # longer than a lease without renewals lives
            order.append("first done")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with leased(files, "x.building", said.append, 20, QUICK):
        order.append("second in")
    thread.join(10)
    assert order == ["first done", "second in"]
    assert len(said) == 1 and "who builds the same thing" in said[0]
    assert files.read("x.building") is None


def test_a_lease_that_nobody_renews_is_taken_over() -> None:
    files = StoreFiles("memory://lease2")
    files.write("x.building", b'{"token": "of a dead one", "owner": "bob@pc"}')
    started = time.monotonic()
    with leased(files, "x.building", lambda _: None, 20, QUICK):
        assert 0.5 < time.monotonic() - started < 10


def test_a_lease_that_another_has_taken_over_is_not_taken_back() -> None:
    files = StoreFiles("memory://lease4")
    with leased(files, "x.building", lambda _: None, 20, QUICK):
        files.write("x.building", b'{"token": "of another", "owner": "bob@pc"}')
        time.sleep(0.35)  # three beats
        assert b"of another" in (files.read("x.building") or b"")
    assert b"of another" in (files.read("x.building") or b"")


def test_a_lease_gives_up_at_its_deadline() -> None:
    files = StoreFiles("memory://lease3")
    files.write("x.building", b'{"token": "t", "owner": "bob@pc"}')
    with (
        pytest.raises(StackError, match=r"bob@pc has built x\.building for too long"),
        leased(files, "x.building", lambda _: None, 0.5, Pace(beat=0.1, stale=30.0, settle=0.05)),
    ):
        raise AssertionError("not reached")


def test_memory_is_one_file_system_for_all() -> None:
    # What these tests rest on: two Stores of one URL see the same files.
    fsspec.filesystem("memory").pipe_file("/shared/x", b"1")
    assert StoreFiles("memory://shared").read("x") == b"1"


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format": 1}'])
def test_one_damaged_entry_hides_no_other(damage: bytes, store: Store, tmp_path: Path) -> None:
    """A power cut can leave an entry without its content: what else is there goes on being used."""
    stack, facts = load_stack("relay-0.19"), {"ansible_architecture": "aarch64", "tvmops_glibc": "2.31"}
    whole = store.put(make_artifact(tmp_path / "made", stack=stack.name))
    store._files.write("0123456789abcdef.json", damage)
    assert list(store.manifests()) == [whole.key]
    assert store.newest_for(stack, facts).key == whole.key
    with pytest.raises(StackError, match="is damaged"):
        store.get("0123456789abcdef")


def test_an_entry_without_its_archives_hash_is_damaged(store: Store, tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "made")
    store._files.write(f"{made.key}.json", json.dumps({"format": 1, "manifest": made.manifest}).encode())
    with pytest.raises(StackError, match="is damaged"):
        store.get(made.key)
    assert store.put(made, BUILD).key == made.key
