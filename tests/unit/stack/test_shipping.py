"""What is sent to a board: only what it lacks, the same bytes every time, and together with its base the whole."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvmops.errors import StackError
from tvmops.paths import project_root
from tvmops.stack.artifact import Artifact, manifest_key, read_archive, version_file, write_archive
from tvmops.stack.board_shipping import board_variables
from tvmops.stack.shipping import best_base, known_manifests, shipment

RELEASE = project_root() / "playbooks" / "files" / "release.py"
PROGRAM = "bin/tvm_rpc"
NAMES = ["lib/libtvm_runtime.so", "tvm/__init__.py", "tvm/a.py", PROGRAM, "licences/tvm.txt"]
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"


def artifact(folder: Path, files: Files, **more: Any) -> Artifact:
    listed: dict[str, Any] = {}
    for name, data in files.items():
        listed[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        listed[name] |= {"mode": "0755"} if name == PROGRAM else {}
    manifest = {
        "part": "runtime", "stack": "relay-0.19", "api": "relay", "tvm": "0.19.0", "arch": "x86_64", "python": "",
        "glibc": "2.28", "server": "lean", "packages": [], "files": listed, **more,
    }  # fmt: skip
    key = manifest_key(manifest)
    contents = {**files, "manifest.json": json.dumps(manifest).encode(), "VERSION": version_file(manifest, key)}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.tar.gz"
    with path.open("wb") as out:
        write_archive(out, contents, {PROGRAM: 0o755})
    return Artifact(key, path, path.stat().st_size, manifest)


def release(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", RELEASE, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def unpack(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xf", path, "-C", folder], check=True)
    return folder


contents = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([b"one = 1\n", b"two = 2\n", b"", b"3\n"]), min_size=1
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=contents, new=contents)
def test_base_and_delta_are_the_whole(tmp_path_factory: pytest.TempPathFactory, old: Files, new: Files) -> None:
    folder = tmp_path_factory.mktemp("case")
    base, wanted = artifact(folder / "a", old), artifact(folder / "b", new)
    delta = shipment(wanted, base)
    sent = {name for name, _, _ in read_archive(delta.path)} - {".pieces.json", "manifest.json"}
    there = {(data, name == PROGRAM) for name, data in old.items()}
    lacked = {name for name, data in new.items() if (data, name == PROGRAM) not in there}
    assert sent <= lacked | {"VERSION"}
    before = unpack(base.path, folder / "releases" / base.key)
    after = unpack(delta.path, folder / "releases" / "new")
    done = release("assemble", after, before)
    assert done.returncode == 0, done.stdout
    for name, data in new.items():
        assert (after / name).read_bytes() == data
        assert (after / name).stat().st_mode & 0o777 == (0o755 if name == PROGRAM else 0o644)


def test_the_same_bytes_every_time(tmp_path: Path, cache: Path) -> None:
    base = artifact(tmp_path, {"tvm/a.py": b"a", "lib/l": b"l" * 1000})
    wanted = artifact(tmp_path, {"tvm/a.py": b"b", "lib/l": b"l" * 1000})
    first = shipment(wanted, base)
    content = first.path.read_bytes()
    first.path.unlink()
    again = shipment(wanted, base)
    assert again == first
    assert again.path.read_bytes() == content
    assert again.base_key == base.key
    assert shipment(wanted).path == wanted.path


def test_a_base_whose_archive_here_is_damaged_still_saves_what_equals(tmp_path: Path, cache: Path) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(5000))
    base = artifact(cache / "artifacts", {"lib/l": random.Random(1).randbytes(100_000), "tvm/a.py": lines})
    wanted = artifact(tmp_path, {"lib/l": random.Random(1).randbytes(100_000), "tvm/a.py": lines + b"# new\n"})
    shipment(base)
    content = base.path.read_bytes()
    base.path.write_bytes(content[: len(content) // 2])
    delta = shipment(wanted, base)
    assert {name for name, _, _ in read_archive(delta.path)} == {"manifest.json", "VERSION", "tvm/a.py"}


def test_the_base_that_saves_most_of_those_known_here(tmp_path: Path) -> None:
    library = b"l" * 10_000
    near = artifact(tmp_path, {"lib/l": library, "tvm/a.py": b"1"})
    far = artifact(tmp_path, {"lib/l": b"other", "tvm/a.py": b"2"})
    strange = artifact(tmp_path, {"lib/l": b"nothing of it", "tvm/a.py": b"?"})
    wanted = artifact(tmp_path, {"lib/l": library, "tvm/a.py": b"2"})
    assert best_base(wanted, [near.key, far.key]) is None, "nothing is known of them"
    for one in (near, far, strange, wanted):
        shipment(one)  # what was shipped from here is known here
    assert set(known_manifests([near.key, "0" * 16])) == {near.key}
    best = best_base(wanted, [far.key, near.key, wanted.key])
    assert best is not None
    assert best.key == near.key
    assert best_base(wanted, [strange.key]) is None


def test_a_manifest_under_a_false_name_is_not_believed(tmp_path: Path, cache: Path) -> None:
    one = artifact(tmp_path, {"lib/l": b"1"})
    shipment(one)
    path = cache / "shipments" / "manifests" / f"{one.key}.json"
    path.write_text(path.read_text().replace("0.19.0", "0.19.1"))
    assert known_manifests([one.key]) == {}
    path.write_text("{")
    assert known_manifests([one.key]) == {}


FACTS = {
    "ansible_architecture": "x86_64",
    "ansible_python": {"executable": "/usr/bin/python3"},
    "ansible_python_version": "3.7.3",
    "tvmops_glibc": "2.28",
}


def test_what_a_board_is_told(tmp_path: Path) -> None:
    base = artifact(tmp_path, {"lib/l": b"l" * 1000, "tvm/a.py": b"1"})
    wanted = artifact(tmp_path, {"lib/l": b"l" * 1000, "tvm/a.py": b"2"})
    shipment(base)
    whole, text = board_variables(wanted, FACTS)
    assert whole["tvmops_release_archive"] == str(wanted.path)
    assert whole["tvmops_release_size"] == "1001"
    assert whole["tvmops_release_server"] == "lean"
    assert "tvmops_release_base" not in whole
    assert "to send" in text
    part, text = board_variables(wanted, {**FACTS, "tvmops_releases": {"current": base.key, "keys": [base.key]}})
    assert part["tvmops_release_base"] == base.key
    assert part["tvmops_release_whole"] == str(wanted.path)
    assert part["tvmops_release_size"] == "1"
    assert f"release {base.key} has the rest" in text
    there, text = board_variables(wanted, {**FACTS, "tvmops_releases": {"keys": [base.key, wanted.key]}})
    assert "tvmops_release_base" not in there
    assert "is there" in text


@pytest.mark.parametrize(
    ("needs", "facts", "named"),
    [
        ({"GLIBC": "2.34"}, {}, "GLIBC_2.34"),
        ({"GLIBC": "2.28"}, {"ansible_architecture": "aarch64"}, "aarch64"),
        ({"GLIBC": "2.28"}, {"ansible_python_version": "3.4.2"}, "Python"),
    ],
)
def test_a_board_that_it_does_not_fit_is_refused(
    tmp_path: Path, needs: dict[str, str], facts: dict[str, Any], named: str
) -> None:
    wanted = artifact(tmp_path, {"lib/l": b"l"}, needs=needs)
    with pytest.raises(StackError, match=named):
        board_variables(wanted, {**FACTS, **facts})


def test_a_changed_file_is_sent_as_pieces_of_the_old_one(tmp_path: Path, cache: Path) -> None:
    library = random.Random(1).randbytes(300_000)
    lines = b"".join(b"line %d\n" % number for number in range(5000))
    others = {f"tvm/other{number}.py": b"%d\n" % number for number in range(50)}
    old = {"lib/l": library, "tvm/a.py": lines, "bin/tvm_rpc": library[:1000]}
    base = artifact(cache / "artifacts", {**others, **old})
    changed = library[:1000] + b"!" + library[2000:]
    files = {**others, "lib/l": changed, "tvm/a.py": lines + b"# new\n", "bin/tvm_rpc": library[:999] + b"?"}
    wanted = artifact(tmp_path, files)
    shipment(base)
    delta = shipment(wanted, base)
    assert delta.size < 5000
    before = unpack(base.path, tmp_path / "releases" / base.key)
    after = unpack(delta.path, tmp_path / "releases" / wanted.key)
    assert not (after / "manifest.json").exists(), "it, too, differs only in pieces"
    assert release("assemble", after, before).returncode == 0
    assert release("finish", after).returncode == 0
    assert {name: (after / name).read_bytes() for name in files} == files
    assert (after / "bin/tvm_rpc").stat().st_mode & 0o777 == 0o755
    assert not (after / ".pieces.json").exists()

    # Damaged at one byte: what would come out of it is not made.
    (before / "lib/l").write_bytes(library[:50_000] + b"x" + library[50_001:])
    again = unpack(delta.path, tmp_path / "releases" / "again")
    done = release("assemble", again, before)
    assert done.returncode == 1
    assert "lib/l" in done.stdout
    assert not (again / "lib/l").exists()


def test_a_base_that_is_damaged_is_not_used_again(tmp_path: Path) -> None:
    base = artifact(tmp_path, {"lib/l": b"l" * 1000, "tvm/a.py": b"1"})
    wanted = artifact(tmp_path, {"lib/l": b"l" * 1000, "tvm/a.py": b"2"})
    delta = shipment(wanted, base)
    before = unpack(base.path, tmp_path / "releases" / base.key)
    (before / "lib/l").write_bytes(b"l" * 999 + b"!")
    (tmp_path / "current").symlink_to(f"releases/{base.key}")
    assert release("assemble", unpack(delta.path, tmp_path / "releases" / "one"), before).returncode == 1
    assert not (before / ".bad").exists(), "it is in use"
    (tmp_path / "current").unlink()
    assert release("assemble", unpack(delta.path, tmp_path / "releases" / "two"), before).returncode == 1
    assert "lib/l is damaged" in release("usable", before).stdout
    facts = {**FACTS, "tvmops_releases": {"keys": [base.key], "bad": [base.key]}}
    assert "tvmops_release_base" not in board_variables(wanted, facts)[0]
