"""Artifacts are what boards get: they load without anything else, are small, and are the same every time."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from runtime_release import PYTHON, STACK, TOOLS, artifact, plain_python, unpack
from tar_members import content

from tvmops.errors import StackError
from tvmops.paths import cache_dir
from tvmops.stack import Artifact, artifact_variables, ensure_artifact, load_stack

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}
ORT_MODEL = "mul_1.onnx"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(artifact(), tmp_path_factory.mktemp("artifact") / "release")


def run(argv: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "HOME": "/proc", **env}
    return subprocess.run(argv, capture_output=True, text=True, env=clean, timeout=120, check=False)


def test_it_loads_in_a_clean_python(release: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(release)!r}); import tvm, tvm.rpc, numpy;"
        "import tvm.exec.rpc_server; print(tvm.__version__, tvm.__file__, numpy.__file__, tvm.cpu(0).exist)"
    )
    done = run([plain_python(), "-I", "-c", script])
    assert done.returncode == 0, done.stderr
    version, where, numpy_where, cpu = done.stdout.split()
    assert version == load_stack(STACK).version
    assert where.startswith(str(release))
    assert numpy_where.startswith(str(release))
    assert cpu == "True"


def test_it_is_small_and_has_no_compiler(release: Path) -> None:
    files = [path for path in release.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 80e6
    assert artifact().size < 25e6
    assert sorted(path.name for path in (release / "tvm" / "lib").iterdir()) == [
        "libtvm_runtime.so",
        "libtvm_runtime_extra.so",
    ]


def test_the_smoke_test_computes_and_says_what_it_found(release: Path, tmp_path: Path) -> None:
    result = tmp_path / "smoke.json"
    done = run([plain_python(), "-s", str(TOOLS / "smoke.py"), str(release), str(result)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(result.read_text())["devices"] == ["cpu"]


def test_the_smoke_test_refuses_a_broken_runtime(release: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(release, broken)
    (broken / "tvm" / "lib" / "libtvm_runtime.so").write_bytes(b"not a library")
    done = run([plain_python(), "-s", str(TOOLS / "smoke.py"), str(broken), str(tmp_path / "smoke.json")])
    assert done.returncode == 1
    assert "the runtime does not load with Python 3." in done.stdout
    assert not (tmp_path / "smoke.json").exists()


def test_a_damaged_file_is_found_before_the_release_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    unpack(artifact(), folder)
    (folder / ".complete").unlink()
    (folder / "typing_extensions.py").write_text("# cut sho")
    done = run([sys.executable, str(TOOLS / "release.py"), "finish", str(folder)])
    assert done.returncode == 1
    assert "typing_extensions.py: its content is damaged (1 of" in done.stdout
    assert not (folder / ".complete").exists()


def test_too_little_room_is_said_in_numbers(tmp_path: Path) -> None:
    done = run([sys.executable, str(TOOLS / "release.py"), "room", str(tmp_path), str(10**15)])
    assert done.returncode == 1
    assert "the runtime needs 1000000001 MB" in done.stdout
    assert run([sys.executable, str(TOOLS / "release.py"), "room", str(tmp_path), "1000"]).returncode == 0


def fresh_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own that has the wheels, so that nothing is fetched."""
    artifact()
    source = cache_dir() / "wheels" / f"x86_64-py{PYTHON}"
    wheels = folder / "cache" / "wheels" / source.name
    wheels.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == ".whl":
            (wheels / path.name).symlink_to(path)
    monkeypatch.setenv("TVMOPS_CACHE", str(folder / "cache"))
    return wheels


def test_packed_again_it_is_the_same_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = artifact()
    fresh_cache(tmp_path, monkeypatch)
    again = artifact()
    assert again.path != first.path
    assert again.key == first.key
    assert again.path.read_bytes() == first.path.read_bytes()


def test_a_damaged_wheel_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = artifact()
    wheels = fresh_cache(tmp_path, monkeypatch)
    wheel = next(wheels.glob("typing_extensions-*.whl"))
    wheel.unlink()
    wheel.write_bytes(b"half a whe")
    told: list[str] = []
    again = ensure_artifact(load_stack(STACK), "x86_64", PYTHON, told.append)
    assert again.key == first.key
    assert f"fetching 1 wheels for x86_64, Python {PYTHON}" in told


@pytest.mark.parametrize(
    ("line", "expected"),
    [("0" * 64 + "  {name}\n", "not " + "0" * 64), ("", "not among the wheels that the stack pins")],
)
def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: str
) -> None:
    wheels = fresh_cache(tmp_path, monkeypatch)
    name = next(wheels.glob("typing_extensions-*.whl")).name
    stack = tmp_path / f"{STACK}.yml"
    shipped = Path(load_stack(STACK).path)
    stack.write_bytes(shipped.read_bytes())
    sums = shipped.with_suffix(".sha256").read_text().splitlines(keepends=True)
    kept = [one for one in sums if name not in one]
    stack.with_suffix(".sha256").write_text("".join(kept) + line.format(name=name))
    with pytest.raises(StackError, match=expected) as caught:
        ensure_artifact(load_stack(str(stack)), "x86_64", PYTHON)
    assert name in str(caught.value)
    assert not (wheels / name).exists()


def machines(made: Artifact) -> set[int]:
    """ELF machine numbers of the shared libraries in an artifact."""
    with tarfile.open(made.path) as tar:
        libraries = [member for member in tar if ".so" in member.name and member.isfile()]
        assert len(libraries) > 5
        return {struct.unpack_from("<H", content(tar, member), 18)[0] for member in libraries}


def test_each_architecture_gets_its_own_libraries() -> None:
    stack = load_stack(STACK)
    arm, intel = (ensure_artifact(stack, arch, "3.11") for arch in ("aarch64", "x86_64"))
    assert arm.key != intel.key
    assert machines(arm) == {ELF_MACHINE["aarch64"]}
    assert machines(intel) == {ELF_MACHINE["x86_64"]}


def test_the_manifest_says_where_every_byte_came_from() -> None:
    made = artifact()
    packages = {package["name"]: package for package in made.manifest["packages"]}
    assert packages["apache-tvm"]["version"] == load_stack(STACK).version
    assert packages["numpy"]["licence"]
    assert all(len(package["sha256"]) == 64 for package in packages.values())
    with tarfile.open(made.path) as tar:
        assert set(made.manifest["files"]) | {"manifest.json", "VERSION"} == {m.name for m in tar if m.isfile()}


def test_onnxruntime_runs_beside_the_runtime(release: Path, tmp_path: Path) -> None:
    reference = unpack(artifact("baseline"), tmp_path / "baseline")
    wheel = next((cache_dir() / "wheels" / f"x86_64-py{PYTHON}").glob("onnxruntime-*.whl"))
    model = zipfile.ZipFile(wheel).read(f"onnxruntime/datasets/{ORT_MODEL}")
    (tmp_path / ORT_MODEL).write_bytes(model)
    script = (
        "import numpy, onnxruntime, sys; s = onnxruntime.InferenceSession(sys.argv[1]);"
        "x = numpy.full(s.get_inputs()[0].shape, 2, 'float32');"
        "print(onnxruntime.__file__, float(s.run(None, {s.get_inputs()[0].name: x})[0].sum()))"
    )
    path = f"{release}:{reference}"
    done = run([plain_python(), "-s", "-c", script, str(tmp_path / ORT_MODEL)], PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    where, total = done.stdout.split()
    assert where.startswith(str(reference))
    assert float(total) == 42.0  # 2 x (1 + ... + 6)


def test_variables_for_playbooks_name_files_that_exist() -> None:
    variables = artifact_variables(load_stack(STACK), "x86_64", PYTHON)
    assert Path(variables["tvmops_release_archive"]).is_file()
    assert Path(variables["tvmops_baseline_archive"]).is_file()
    assert int(variables["tvmops_release_size"]) == artifact().unpacked_size
