"""`tvmops build` from plan to store, with sources that compile in a second and the cross compilers of this machine."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from build_runs import NANO, PI, PINE, Builds, ended
from tiny_tvm import tiny_tree

from tvmops.stack.artifact import read_archive

NO_CCACHE = {"CCACHE_DISABLE": "1"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "tree")


def test_each_abi_is_built_once_and_never_again(tree: Path, tmp_path: Path) -> None:
    """One run for eight boards: the plan names who shares what and who is refused; the next finds all in the store."""
    boards = {f"pi-{number}": PI for number in range(1, 6)} | {"pine-1": PINE, "pine-2": PINE, "nano": NANO}
    builds = Builds(tmp_path / "one", boards)
    refused = "what is linked with glibc 2.36 needs GLIBC_2.34 (pthread_create); the board has glibc 2.27"
    first = builds.run("--source", str(tree))
    assert first.returncode == 13, first.stdout + first.stderr
    lines = first.stdout.splitlines()
    assert lines[0] == "8 boards, 3 ABIs, 2 builds; 0 in the store"
    assert "  armv7l-hard, glibc 2.36, GLIBCXX 3.4.30: pi-1, pi-2, pi-3, pi-4, pi-5" in lines
    assert f"refused: nano: {refused}" in lines
    assert first.stdout.count("Compile ... changed") == 2
    assert f"nano: {refused}\n  1 of 8 boards got nothing" in first.stderr

    manifests = builds.manifests()
    assert set(manifests) == {"armv7l", "aarch64"}
    armhf = manifests["armv7l"]
    assert (armhf["float_abi"], armhf["needs"]["GLIBC"]) == ("hard", "2.34")
    assert armhf["needed_by"]["GLIBC"] == {"file": "lib/libtvm_runtime.so", "symbol": "dlclose"}
    assert [one["of"] for one in armhf["licences"]] == ["dlpack", "tvm"]
    assert (armhf["options"]["USE_SORT"], armhf["built_with"]["USE_SORT"]) == ("ON", "ON")

    again = builds.run("--source", str(tree), "--json")
    events = [json.loads(line) for line in again.stdout.splitlines()]
    plan = next(event for event in events if event["event"] == "plan")
    assert {build["artifact"] for build in plan["builds"]} == {one["key"] for one in manifests.values()}
    assert not any(event.get("task") == "Compile" for event in events)
    given = next(event for event in events if event["event"] == "artifacts")["boards"]
    assert {name: one["key"] for name, one in given.items()} == {
        **{f"pi-{number}": armhf["key"] for number in range(1, 6)},
        **dict.fromkeys(("pine-1", "pine-2"), manifests["aarch64"]["key"]),
    }


def test_equal_inputs_give_equal_bytes_wherever_they_are_built(tree: Path, tmp_path: Path) -> None:
    """Two controllers with nothing in common and no ccache; the same sources, lying in another folder."""
    other = tiny_tree(tmp_path / "another-place-of-the-same-tree")
    first = Builds(tmp_path / "first", {"pi": PI}, environment=NO_CCACHE)
    second = Builds(tmp_path / "the-second-controller", {"pi-of-others": PI}, environment=NO_CCACHE)
    for builds, source in ((first, tree), (second, other)):
        done = builds.run("--source", str(source))
        assert done.returncode == 0, done.stdout + done.stderr
    assert first.archive("armv7l") == second.archive("armv7l")
    # What is in it names no folder of either controller.
    for _, _, data in read_archive(next(first.store.glob("*.tar.zst"))):
        assert str(tmp_path).encode() not in data


def test_two_builds_of_one_key_at_once_build_it_once(tmp_path: Path) -> None:
    """One builds, the other waits and uses what came out; meanwhile nothing half made is in the store."""
    tree = tiny_tree(tmp_path / "tree", slow="4 s")
    builds = Builds(tmp_path / "one", {"pi": PI})
    running = [builds.start("--source", str(tree)) for _ in range(2)]
    done = [ended(process) for process in running]
    assert [one.returncode for one in done] == [0, 0], "\n".join(one.stdout + one.stderr for one in done)
    compiled = ["Compile ... changed" in one.stdout for one in done]
    waited = next(one for one, built in zip(done, compiled, strict=True) if not built)
    assert sorted(compiled) == [False, True]
    assert "waiting for another tvmops that makes the same thing" in waited.stderr
    assert "is in the store by now" in waited.stderr
    assert len(builds.manifests()) == 1


def test_a_failed_build_is_one_message_and_the_others_go_on(tmp_path: Path) -> None:
    """The first error of the log, the machine it concerns and where the log is; boards of other ABIs are served."""
    tree = tiny_tree(tmp_path / "tree", only64="#if __SIZEOF_POINTER__ != 8\n#error only 64 bits\n#endif\n")
    builds = Builds(tmp_path / "one", {"pi-1": PI, "pi-2": PI, "pine": PINE})
    done = builds.run("--source", str(tree), "--quiet")
    assert done.returncode == 13
    assert set(builds.manifests()) == {"aarch64"}
    assert "relay-0.19 runtime for armv7l-hard could not be built here" in done.stderr
    assert "error: #error only 64 bits" in done.stderr
    log = next(line for line in done.stderr.splitlines() if "the whole log:" in line).split(": ", 1)[1]
    assert "only64.cc" in Path(log).read_text()
    assert "2 of 3 boards got nothing" in done.stderr
    assert "Traceback" not in done.stderr

    # The cause is gone: what was compiled already is not compiled again.
    (tree / "src/runtime/only64.cc").write_text("")
    assert builds.run("--source", str(tree)).returncode == 0
    assert set(builds.manifests()) == {"aarch64", "armv7l"}


def test_interrupted_and_gone_on_with(tmp_path: Path) -> None:
    """Ctrl-C twice ends it at once with one message; nothing is in the store, and the same command finishes."""
    tree = tiny_tree(tmp_path / "tree", slow="4 s")
    builds = Builds(tmp_path / "one", {"pi": PI})
    process = builds.start("--source", str(tree))
    work = tmp_path / "one/cache/build/relay-0.19-armv7l-hard-runtime/build"
    give_up = time.monotonic() + 120
    while not (work / "build.ninja").exists():
        assert time.monotonic() < give_up and process.poll() is None, process.communicate()
        time.sleep(0.1)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    done = ended(process, timeout=60)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "interrupted while building relay-0.19 runtime for armv7l-hard" in done.stderr
    assert builds.manifests() == {}
    again = builds.run("--source", str(tree))
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(builds.manifests()) == {"armv7l"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--set", "USE_SROT=ON"), 5, "--set USE_SROT=ON: v0.19.0 has no option USE_SROT"),
        (("--target", "runtme"), 5, "did you mean 'runtime'?"),
        (("--builder", "host:nobody"), 5, "builder host:nobody: no such host"),
        (("--builder", "crossed"), 5, "there is no builder 'crossed'"),
        (("--store", "nosuch://x"), 13, "there is no protocol 'nosuch'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_built(
    options: tuple[str, ...], code: int, message: str, tree: Path, tmp_path: Path
) -> None:
    builds = Builds(tmp_path / "one", {"pi": PI})
    done = builds.run("--source", str(tree), *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_boards_with_options_or_flags_of_their_own_get_builds_of_their_own(tree: Path, tmp_path: Path) -> None:
    """Five boards of one ABI, three builds: inventory variables decide. -march=native is refused with its place."""
    variables = {
        "pi-2": {"tvm_build_options": {"USE_PROFILER": "OFF"}},
        "pi-3": {"tvm_build_options": {"USE_PROFILER": "OFF"}},
        "pi-4": {"tvm_build_flags": ["-mfpu=neon-vfpv4"]},
        "pi-5": {"tvm_build_flags": ["-mfpu=neon-vfpv4"]},
    }
    old = {**PI, "tvmops_cpu": {"model": "Cortex-A9", "features": ["half", "thumb", "vfp", "neon", "vfpv3"]}}
    boards = {"pi-1": PI, "pi-2": PI, "pi-3": PI, "pi-4": PI, "pi-5": old}
    builds = Builds(tmp_path / "one", boards, variables)
    done = builds.run("--source", str(tree))
    assert done.stdout.startswith("5 boards, 1 ABI, 3 builds; 0 in the store\n"), done.stdout + done.stderr
    assert "pi-5: it uses processor features that Cortex-A9 does not have: vfpv4" in done.stderr
    assert "1 of 5 boards got nothing" in done.stderr
    native = Builds(tmp_path / "two", {"pi-1": PI}, {"pi-1": {"tvm_build_flags": "-O2 -march=native"}})
    done = native.run("--source", str(tree), "--plan")
    assert done.returncode == 5 and "-march=native depends on the machine that compiles" in done.stderr
    assert "hosts.yml:" in done.stderr
