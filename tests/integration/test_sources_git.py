"""Source trees from git, over git's own server and from mirrors and bundles; servers that go away, and wrong pins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_trees import Daemon, Repositories, commit, git, make_repositories, stack_with, whole_tree, write_tree

from tvmops.errors import StackError
from tvmops.stack.sources import SourceTree, fetch_source, git_program
from tvmops.stack.sources import git as git_sources


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    return make_repositories(tmp_path_factory.mktemp("git") / "repositories", ballast=2_000_000)


@pytest.fixture
def repositories(made: Repositories, tmp_path: Path) -> Repositories:
    """A copy that a test may change."""
    shutil.copytree(made.folder, tmp_path / "repositories", symlinks=True)
    return Repositories(tmp_path / "repositories", made.commit, made.branch_commit, made.base)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(git_sources, "PAUSE", 0.1)
    return tmp_path / "cache" / "sources"


@pytest.fixture
def daemon(made: Repositories) -> Iterator[Daemon]:
    server = Daemon(made.folder)
    yield server
    server.stop()


def fetch(
    repositories: Repositories, url: str, mirrors: dict[str, str], choice: str | None = None, **changes: str
) -> SourceTree:
    stack = stack_with(repositories.folder, upstream=repositories.source(url, **changes))
    return fetch_source(stack, choice, mirrors=mirrors)


def kept_trees(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if (path / "source.tar.gz").exists()]


def test_a_tag_that_is_a_branch_too_with_its_submodules(made: Repositories, daemon: Daemon, cache: Path) -> None:
    told: list[str] = []
    stack = stack_with(made.folder, upstream=made.source(daemon.url + "tvm"))
    tree = fetch_source(stack, None, told.append, mirrors={made.base: daemon.url})
    assert tree.commit == made.commit
    assert not (tree.folder / "later.txt").exists()
    assert sorted(tree.submodules) == ["3rdparty/cutlass", "3rdparty/dlpack", "3rdparty/dlpack/3rdparty/inner"]
    inner = git(made.folder / "inner", "rev-parse", "HEAD")
    assert tree.submodules["3rdparty/dlpack/3rdparty/inner"] == inner
    assert (tree.folder / "3rdparty/dlpack/3rdparty/inner/include/inner.h").read_text() == "// inner\n"
    assert tree.complete and tree.absent == ()
    assert any("Receiving objects" in line for line in told)
    assert not list(tree.folder.rglob(".git"))
    assert not [path for path in cache.iterdir() if path.name.startswith(".git-")]
    # The server is gone: the same commit is kept.
    daemon.stop()
    assert fetch_source(stack, None, mirrors={}).identity == tree.identity


def test_git_mirror_bundle_archive_and_folder_of_the_same_content_are_the_same(
    made: Repositories, repositories: Repositories, cache: Path, tmp_path: Path
) -> None:
    local = {made.base: f"{made.folder}/"}
    mirror = tmp_path / "mirror.git"
    git(tmp_path, "clone", "--quiet", "--mirror", str(made.folder / "tvm"), str(mirror))
    bundle = tmp_path / "tvm.bundle"
    git(made.folder / "tvm", "bundle", "create", "--quiet", str(bundle), "--all")
    # In the checkout, things that are made and ignored do not count, and those that no build reads.
    checkout = repositories.folder / "tvm"
    git(checkout, "checkout", "--quiet", "--detach", "refs/tags/v1.0")
    (checkout / ".git" / "info" / "exclude").write_text("*.log\n")
    write_tree(checkout, {"make.log": "x", "build/out.o": "x", "python/__pycache__/a.pyc": "x", "docs/made.html": "x"})
    plain = whole_tree(tmp_path / "plain")
    shutil.copy(checkout / "3rdparty/cutlass/ballast.bin", plain / "3rdparty/cutlass/ballast.bin")
    shutil.copy(checkout / ".gitmodules", plain / ".gitmodules")
    shutil.copy(checkout / "3rdparty/dlpack/.gitmodules", plain / "3rdparty/dlpack/.gitmodules")
    found: dict[str, SourceTree] = {}
    packed = set()
    for choice in (str(mirror), str(bundle), str(checkout), str(plain)):
        shutil.rmtree(cache, ignore_errors=True)
        found[choice] = fetch(made, "https://git.invalid/tvm", local, choice)
        packed.add(found[choice].archive.read_bytes())
    assert len({tree.identity for tree in found.values()}) == 1
    assert [tree.kind for tree in found.values()] == ["git", "git", "folder", "folder"]
    assert len(packed) == 1
    assert found[str(mirror)].commit == made.commit
    # The checkout has a new file, which no rule ignores: docs/made.html.
    assert found[str(checkout)].commit == f"{made.commit}-changed"


def test_submodules_from_bundles(made: Repositories, tmp_path: Path) -> None:
    mirrors = {}
    for name, url in (("tvm", ""), ("dlpack", "dlpack"), ("cutlass", "cutlass"), ("inner", "inner")):
        bundle = tmp_path / f"{name}.bundle"
        git(made.folder / name, "bundle", "create", "--quiet", str(bundle), "--all")
        if url:
            mirrors[made.base + url] = str(bundle)
    tree = fetch(made, "https://git.invalid/tvm", mirrors, str(tmp_path / "tvm.bundle"))
    assert len(tree.submodules) == 3


def test_a_plain_web_server_as_mirror(made: Repositories, tmp_path: Path) -> None:
    for name in ("tvm", "dlpack", "cutlass", "inner"):
        git(tmp_path, "clone", "--quiet", "--bare", str(made.folder / name), f"web/{name}.git")
        git(tmp_path / "web" / f"{name}.git", "update-server-info")
        (tmp_path / "web" / name).symlink_to(f"{name}.git")
    with subprocess.Popen(
        ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
        cwd=tmp_path / "web",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split("port ")[1].split()[0]
            url = f"http://127.0.0.1:{port}/"
            tree = fetch(made, f"{url}tvm.git", {made.base: url})
        finally:
            server.kill()
    assert tree.commit == made.commit
    assert len(tree.submodules) == 3


def test_the_server_is_killed_in_mid_clone(made: Repositories, cache: Path, tmp_path: Path) -> None:
    dying = Daemon(made.folder, passes=700_000)
    told: list[str] = []
    with pytest.raises(StackError) as raised:
        fetch_source(
            stack_with(made.folder, upstream=made.source(dying.url + "tvm")),
            None,
            told.append,
            mirrors={made.base: dying.url},
        )
    assert dying.killed.is_set()
    assert "cannot be reached" in raised.value.message or "went away" in raised.value.message
    assert "3rdparty/cutlass" in raised.value.message  # where it stopped: the large one
    assert "docs/sources.md" in raised.value.hint
    assert any("trying again" in line for line in told)
    assert kept_trees(cache) == []
    # Another time, another server: what was whole is not fetched again.
    half = next(path for path in cache.iterdir() if path.name.startswith(".git-"))
    assert (half / "tree" / "repo" / "CMakeLists.txt").is_file()
    server = Daemon(made.folder)
    try:
        told.clear()
        tree = fetch_source(
            stack_with(made.folder, upstream=made.source(server.url + "tvm")),
            None,
            told.append,
            mirrors={made.base: server.url},
        )
    finally:
        server.stop()
    assert tree.commit == made.commit and len(tree.submodules) == 3
    assert (tree.folder / "3rdparty/cutlass/ballast.bin").stat().st_size == 2_000_000
    assert len(kept_trees(cache)) == 1
    assert not half.exists()


def test_tvmops_is_killed_in_mid_clone(made: Repositories, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process leaves (locks, half packs, half submodules) does not stand in the next one's way."""
    slow = Daemon(made.folder, passes=400_000)
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\nfrom source_trees import stack_with\nfrom tvmops.stack.sources import fetch_source\n"
        f"source = {made.source('URL')!r}\nsource['url'] = sys.argv[1] + 'tvm'\n"
        "fetch_source(stack_with(Path('.'), upstream=source), None, print, mirrors={sys.argv[2]: sys.argv[1]})\n"
    )
    # The door stops passing bytes but stays open: git waits.
    monkeypatch.setattr(slow, "stop", lambda: time.sleep(60))
    with subprocess.Popen(
        [sys.executable, "-c", program, slow.url, made.base], start_new_session=True, stdout=subprocess.DEVNULL
    ) as victim:
        give_up = time.monotonic() + 60
        while slow.sent <= 400_000:
            assert time.monotonic() < give_up, "the transfer did not come as far"
            time.sleep(0.05)
        os.killpg(victim.pid, 9)
    Daemon.stop(slow)
    repo = next(path for path in cache.iterdir() if path.name.startswith(".git-")) / "tree" / "repo"
    for name in ("index.lock", "config.lock", "shallow.lock"):  # the last one is there as long as a transfer
        (repo / ".git" / name).touch()
    tree = fetch(made, f"{made.folder}/tvm", {made.base: f"{made.folder}/"})
    assert tree.commit == made.commit and len(tree.submodules) == 3


def test_a_server_that_says_nothing(made: Repositories, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Daemon(made.folder, passes=1000)
    monkeypatch.setattr(silent, "stop", lambda: time.sleep(60))
    monkeypatch.setattr(git_sources, "ATTEMPTS", 1)
    monkeypatch.setattr(git_program, "STALL", 1.5)
    began = time.monotonic()
    try:
        with pytest.raises(StackError, match="went away") as raised:
            fetch(made, f"{silent.url}tvm", {made.base: silent.url})
    finally:
        Daemon.stop(silent)
    assert time.monotonic() - began < 20
    assert "no progress for 2 s" in raised.value.message
    assert kept_trees(cache) == []


def test_a_moved_tag(repositories: Repositories, cache: Path) -> None:
    git(repositories.folder / "tvm", "tag", "--force", "v1.0", "v1.0^{commit}~0")
    git(repositories.folder / "tvm", "tag", "--force", "v1.0", repositories.branch_commit)
    with pytest.raises(StackError) as raised:
        fetch(repositories, f"{repositories.folder}/tvm", {repositories.base: f"{repositories.folder}/"})
    assert repositories.branch_commit in raised.value.message
    assert f"the stack pins {repositories.commit}" in raised.value.message
    assert kept_trees(cache) == []


def test_no_such_tag(made: Repositories) -> None:
    with pytest.raises(StackError, match=r"/tvm has no refs/tags/v9\.9"):
        fetch(made, f"{made.folder}/tvm", {}, ref="refs/tags/v9.9")


def test_a_branch_that_went_on_is_fetched_at_the_pin(made: Repositories, daemon: Daemon) -> None:
    tree = fetch(made, f"{daemon.url}tvm", {made.base: daemon.url}, ref="refs/heads/v1.0")
    assert tree.commit == made.commit
    assert not (tree.folder / "later.txt").exists()


def test_a_submodule_whose_repository_lacks_the_commit(repositories: Repositories, cache: Path) -> None:
    shutil.rmtree(repositories.folder / "cutlass")
    write_tree(repositories.folder / "cutlass", {"other.txt": "another project\n"})
    git(repositories.folder / "cutlass", "init", "--quiet")
    commit(repositories.folder / "cutlass")
    with pytest.raises(StackError, match="3rdparty/cutlass lacks the commit that is recorded") as raised:
        fetch(repositories, f"{repositories.folder}/tvm", {repositories.base: f"{repositories.folder}/"})
    assert "mirror is too old" in raised.value.hint
    assert kept_trees(cache) == []


def test_a_submodule_that_is_not_in_the_mirror(repositories: Repositories) -> None:
    shutil.rmtree(repositories.folder / "cutlass")
    with pytest.raises(StackError, match=r"git\.invalid/cutlass \(submodule 3rdparty/cutlass\) is not there") as raised:
        fetch(repositories, f"{repositories.folder}/tvm", {repositories.base: f"{repositories.folder}/"})
    assert "--mirror" in raised.value.hint


def test_submodules_bring_in_no_protocol(repositories: Repositories, tmp_path: Path) -> None:
    tvm = repositories.folder / "tvm"
    for number, url in enumerate((f"ext::sh -c touch% {tmp_path}/ran", f"file://{repositories.folder}/cutlass")):
        git(tvm, "submodule", "--quiet", "set-url", "3rdparty/cutlass", url)
        pin = commit(tvm)
        git(tvm, "tag", f"evil{number}")
        server = Daemon(repositories.folder)
        try:
            with pytest.raises(StackError, match="which is not allowed") as raised:
                mirrors = {repositories.base: server.url}
                fetch(repositories, f"{server.url}tvm", mirrors, ref=f"refs/tags/evil{number}", commit=pin)
        finally:
            server.stop()
        assert ("'ext'", "'file'")[number] in raised.value.message
    assert not (tmp_path / "ran").exists()


def test_nothing_of_the_repository_or_the_environment_is_run(
    made: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "ran"
    hooks = tmp_path / "templates" / "hooks"
    hooks.mkdir(parents=True)
    hook = hooks / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(
        f"[core]\n\thooksPath = {hooks}\n\tfsmonitor = {hook}\n\taskPass = {hook}\n"
        f"[init]\n\ttemplateDir = {hooks.parent}\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(hooks.parent))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_ASKPASS", str(hook))
    tree = fetch(made, f"{made.folder}/tvm", {made.base: f"{made.folder}/"})
    assert tree.commit == made.commit
    assert not marker.exists()


def test_two_at_once_fetch_once(made: Repositories, daemon: Daemon) -> None:
    stack = stack_with(made.folder, upstream=made.source(f"{daemon.url}tvm"))
    told: list[list[str]] = [[], []]
    found: list[SourceTree] = []

    def one(number: int) -> None:
        found.append(fetch_source(stack, None, told[number].append, mirrors={made.base: daemon.url}))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [tree.identity for tree in found] == [found[0].identity] * 2
    packing = [lines for lines in told if "packing the source tree" in lines]
    waiting = [lines for lines in told if any(line.startswith("waiting for another") for line in lines)]
    assert len(packing) == len(waiting) == 1
    assert packing != waiting


def test_a_part_for_a_tree_that_came_without_it(repositories: Repositories, tmp_path: Path) -> None:
    tvm = repositories.folder / "tvm"
    cutlass = git(repositories.folder / "cutlass", "rev-parse", "HEAD")
    part = {
        "kind": "git",
        "url": f"{repositories.folder}/cutlass",
        "ref": "refs/heads/main",
        "commit": cutlass,
        "into": "3rdparty/cutlass",
    }
    git(tvm, "submodule", "--quiet", "deinit", "--force", "3rdparty/cutlass")
    stack = stack_with(tmp_path, upstream=repositories.source("https://git.invalid/tvm"), cutlass=part)
    without = fetch_source(stack, str(tvm))
    assert without.absent == ("3rdparty/cutlass",)
    whole = fetch_source(stack, f"{tvm}+cutlass")
    assert whole.absent == ()
    assert whole.submodules["3rdparty/cutlass"] == cutlass
    assert (whole.folder / "3rdparty/cutlass/include/cutlass/cutlass.h").is_file()
    assert not (tvm / "3rdparty/cutlass/include").exists()  # the user's folder is as it was
