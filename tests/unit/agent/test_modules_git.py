"""The module git, against repositories made here, by file:// URLs.

Cloning by https is not tested: no host is in reach. For ssh see tests/integration/test_git_over_ssh.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

# Cloning submodules from paths is off by default since git 2.38; these are the tests' own.
SETTINGS = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "protocol.file.allow",
    "GIT_CONFIG_VALUE_0": "always",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "t",
    "GIT_COMMITTER_EMAIL": "t@example.org",
}


class Upstream:
    """A repository to clone from: branches main and dev, tags v1 (light) and v2 (annotated), a submodule."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "upstream"
        self.sub = folder / "sub"
        for path in (self.sub, self.path):
            path.mkdir()
            self.git("init", "-q", "-b", "main", cwd=path)
        self.commit("inner", cwd=self.sub)
        self.commit("one")
        self.git("tag", "v1")
        self.commit("two")
        self.git("tag", "-a", "v2", "-m", "two")
        self.git("checkout", "-q", "-b", "dev")
        self.commit("three")
        self.git("checkout", "-q", "main")
        self.git("submodule", "add", "-q", f"file://{self.sub}", "lib")
        self.git("commit", "-qm", "with a submodule")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *words: str, cwd: Path | None = None) -> str:
        environment = {**os.environ, **SETTINGS}
        argv = ["git", *words]
        return subprocess.run(
            argv, cwd=cwd or self.path, env=environment, check=True, text=True, capture_output=True
        ).stdout.strip()

    def commit(self, text: str, cwd: Path | None = None) -> str:
        with ((cwd or self.path) / "file").open("a") as stream:
            stream.write(text + "\n")
        self.git("add", "file", cwd=cwd)
        self.git("commit", "-qm", text, cwd=cwd)
        return self.hash("HEAD", cwd=cwd)

    def hash(self, name: str, cwd: Path | None = None) -> str:
        return self.git("rev-parse", name + "^{commit}", cwd=cwd)


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


class Clone:
    """The module's task for one dest."""

    def __init__(self, board: Driver, upstream: Upstream, dest: Path) -> None:
        self.board = board
        self.upstream = upstream
        self.dest = dest

    def run(self, check: bool = False, diff: bool = False, **args: Any) -> dict[str, Any]:
        args = {"repo": self.upstream.url, "dest": str(self.dest), **args}
        return self.board.task("git", args, check=check, diff=diff, environment=SETTINGS)

    def converge(self, **args: Any) -> dict[str, Any]:
        """Check predicts, apply changes, again does not; the result of the change."""
        before = snapshot(self.dest)
        predicted = self.run(check=True, diff=True, **args)
        assert snapshot(self.dest) == before
        done = self.run(diff=True, **args)
        assert not done["failed"], done
        assert predicted["changed"] == done["changed"] is True, (predicted, done)
        assert predicted["before"] == done["before"]
        again = self.run(**args)
        assert (again["failed"], again["changed"]) == (False, False), again
        assert again["before"] == again["after"] == done["after"]
        assert not list(self.dest.rglob("tvmops-unfinished"))
        return done

    def failure(self, **args: Any) -> str:
        result = self.run(**args)
        assert result["failed"], result
        return str(result["msg"])

    def git(self, *words: str) -> str:
        return self.upstream.git(*words, cwd=self.dest)


@pytest.fixture
def clone(board: Driver, upstream: Upstream, tmp_path: Path) -> Clone:
    return Clone(board, upstream, tmp_path / "deep" / "dest")


def snapshot(root: Path) -> dict[str, object]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}


def test_a_first_clone_has_the_main_branch_and_its_submodules(clone: Clone, upstream: Upstream) -> None:
    done = clone.converge()
    assert (done["before"], done["after"]) == (None, upstream.hash("main"))
    assert done["submodules_changed"]
    assert clone.git("symbolic-ref", "--short", "HEAD") == "main"
    assert clone.git("status", "-sb").splitlines() == ["## main...origin/main"]
    assert (clone.dest / "lib/file").read_text() == "inner\n"
    assert set(clone.git("tag").split()) == {"v1", "v2"}
    assert f"commit: {upstream.hash('main')}" in done["diff"][0]["after"]


def test_versions(clone: Clone, upstream: Upstream) -> None:
    short = upstream.hash("v2")[:9]
    for version, on, where in [
        ("dev", "dev", "dev"),
        ("v1", "", "v1"),
        ("v2", "", "v2"),
        (upstream.hash("v1"), "", "v1"),
        (short, "", "v2"),
        ("main", "main", "main"),
    ]:
        done = clone.converge(version=version)
        assert done["after"] == upstream.hash(where)
        assert clone.git("branch", "--show-current") == on
    assert "no branch or tag 'nosuch'" in clone.failure(version="nosuch")
    assert "no branch or tag 'nosuch'" in clone.failure(version="nosuch", check=True)
    assert "does not give the commit" in clone.failure(version="f" * 40)
    assert "no branch or tag" in clone.failure(version="deadline")


def test_updates(clone: Clone, upstream: Upstream) -> None:
    first = clone.converge()
    new = upstream.commit("four")
    kept = clone.run(update=False)
    assert (kept["changed"], kept["before"], kept["after"]) == (False, first["after"], first["after"])
    done = clone.converge()
    assert (done["before"], done["after"], done["remote_url_changed"]) == (first["after"], new, False)
    assert clone.git("status", "-sb").splitlines() == ["## main...origin/main"]


def test_head_is_the_branch_that_is_checked_out(clone: Clone, upstream: Upstream) -> None:
    clone.converge(version="dev")
    upstream.git("checkout", "-q", "dev")
    new = upstream.commit("on dev")
    upstream.git("checkout", "-q", "main")
    assert clone.converge()["after"] == new
    upstream.git("branch", "-qD", "dev")
    assert clone.converge()["after"] == upstream.hash("main")
    clone.converge(version="v1")
    assert clone.converge()["after"] == upstream.hash("main")
    upstream.git("tag", "same")
    assert not clone.run(version="same")["changed"]
    assert clone.git("branch", "--show-current") == ""
    assert "origin/HEAD -> origin/main" in clone.git("branch", "-r")


def test_other_branches_and_tags_come_along_without_a_change(clone: Clone, upstream: Upstream) -> None:
    clone.converge()
    upstream.git("tag", "v3")
    upstream.git("branch", "more")
    assert not clone.run()["changed"]
    assert "v3" in clone.git("tag").split()
    assert "origin/more" in clone.git("branch", "-r")
    assert not clone.run(version="more")["changed"]
    assert clone.git("branch", "--show-current") == "more"


def test_local_changes_are_kept_unless_forced(clone: Clone, upstream: Upstream) -> None:
    clone.converge()
    (clone.dest / "file").write_text("mine\n")
    (clone.dest / "untracked").write_text("mine\n")
    message = clone.failure()
    assert "M file" in message
    assert "untracked" not in message
    assert clone.run(check=True)["failed"]
    assert (clone.dest / "file").read_text() == "mine\n"
    assert not clone.run(update=False)["changed"]
    done = clone.converge(force=True)
    assert done["before"] == done["after"]
    assert "M file" in done["diff"][0]["before"]
    assert (clone.dest / "file").read_text() == "one\ntwo\n"
    assert (clone.dest / "untracked").exists()


def test_local_commits_give_way(clone: Clone, upstream: Upstream) -> None:
    clone.converge()
    clone.git("commit", "-q", "--allow-empty", "-m", "mine")
    assert clone.converge()["after"] == upstream.hash("main")


def test_submodules_follow(clone: Clone, upstream: Upstream) -> None:
    clone.converge(recursive=False)
    assert not (clone.dest / "lib/file").exists()
    done = clone.converge()
    assert done["submodules_changed"]
    upstream.commit("inner two", cwd=upstream.sub)
    assert not clone.run()["changed"]
    assert clone.converge(track_submodules=True)["submodules_changed"]
    assert (clone.dest / "lib/file").read_text() == "inner\ninner two\n"
    upstream.git("-C", "lib", "pull", "-q", "origin", "main")
    upstream.git("commit", "-qam", "newer submodule")
    assert not clone.converge(force=True)["failed"]
    assert (clone.dest / "lib/file").read_text() == "inner\ninner two\n"
    shutil.rmtree(clone.dest / "lib")
    assert "D lib" in clone.failure()
    assert clone.converge(force=True)["submodules_changed"]


def test_another_url(clone: Clone, upstream: Upstream, tmp_path: Path) -> None:
    clone.converge()
    shutil.copytree(upstream.path, tmp_path / "moved")
    done = clone.converge(repo=str(tmp_path / "moved"))
    assert done["remote_url_changed"]
    assert done["before"] == done["after"]
    assert clone.git("config", "remote.origin.url") == f"file://{tmp_path}/moved"
    assert clone.converge(remote="second")["remote_url_changed"]
    assert set(clone.git("remote").split()) == {"origin", "second"}


def test_shallow_clones(clone: Clone, upstream: Upstream, tmp_path: Path) -> None:
    clone.converge(depth=1)
    assert clone.git("rev-list", "--count", "HEAD") == "1"
    assert clone.git("branch", "-r").split() == ["origin/HEAD", "->", "origin/main", "origin/main"]
    for version in ("dev", "v1", "v2"):
        assert clone.converge(depth=1, version=version)["after"] == upstream.hash(version)
    upstream.commit("five")
    upstream.commit("six")
    clone.converge(depth=1)
    single = Clone(clone.board, upstream, tmp_path / "single")
    single.converge(single_branch=True, version="dev")
    assert single.git("branch", "-r").split() == ["origin/dev"]
    assert single.git("rev-list", "--count", "HEAD") == "3"
    exact = Clone(clone.board, upstream, tmp_path / "exact")
    exact.converge(depth=1, version=upstream.hash("v1"))


def test_bare_repositories(clone: Clone, upstream: Upstream) -> None:
    clone.converge(bare=True)
    assert clone.git("rev-parse", "--is-bare-repository") == "true"
    upstream.git("checkout", "-q", "dev")
    new = upstream.commit("more")
    assert clone.converge(bare=True, version="dev")["after"] == new
    upstream.git("checkout", "-q", "main")
    newer = upstream.commit("even more")
    assert clone.converge(bare=True)["after"] == newer
    assert clone.git("rev-parse", "main") == newer
    upstream.git("tag", "v9")
    assert not clone.run(bare=True)["changed"]
    assert "v9" in clone.git("tag").split()


def test_a_refspec_brings_what_branches_do_not_have(clone: Clone, upstream: Upstream) -> None:
    upstream.git("checkout", "-q", "-b", "gone")
    hidden = upstream.commit("hidden")
    upstream.git("checkout", "-q", "main")
    upstream.git("update-ref", "refs/pull/1/head", hidden)
    upstream.git("branch", "-qD", "gone")
    clone.converge()
    assert clone.converge(version=hidden, refspec="+refs/pull/*:refs/pulls/*")["after"] == hidden


def test_a_commit_that_is_there_needs_no_remote(clone: Clone, upstream: Upstream) -> None:
    wanted = upstream.hash("v1")
    clone.converge(version=wanted)
    upstream.path.rename(upstream.path.with_name("away"))
    assert not clone.run(version=wanted)["changed"]
    assert "git ls-remote: fatal:" in clone.failure(version="v1")


def test_without_clone_nothing_is_made(clone: Clone, upstream: Upstream) -> None:
    for dest in (str(clone.dest), None):
        result = clone.run(clone=False, dest=dest)
        assert (result["changed"], result["before"], result["after"]) == (True, None, upstream.hash("main"))
    assert not clone.dest.exists()
    assert "needs dest" in clone.failure(dest=None)


def test_a_board_without_git(agent: Driver, clone: Clone) -> None:
    args = {"repo": clone.upstream.url, "dest": str(clone.dest), "executable": "/nowhere/git"}
    assert "no program /nowhere/git" in agent.task("git", args)["msg"]
    assert "no program /nowhere/git" in agent.task("git", args, check=True)["msg"]
    agent.task("shell", {"cmd": "install git"}, check=True)
    unknown = agent.task("git", args, check=True)
    assert (unknown["failed"], unknown["changed"]) == (False, True)


def test_later_tasks_of_a_check_run_may_use_the_clone(agent: Driver, clone: Clone) -> None:
    args = {"repo": clone.upstream.url, "dest": str(clone.dest)}
    tasks = [
        {"module": "git", "args": args, "environment": SETTINGS},
        {"module": "copy", "args": {"dest": f"{clone.dest}/config.cmake", "content": "set(USE_LLVM ON)\n"}},
        {"module": "lineinfile", "args": {"path": f"{clone.dest}/file", "line": "more"}},
    ]
    assert [(one["failed"], one["changed"]) for one in agent.batch(tasks, check=True)] == [(False, True)] * 3
    assert not clone.dest.exists()


def test_what_is_in_the_way(clone: Clone) -> None:
    clone.dest.mkdir(parents=True)
    assert clone.converge()["changed"]
    shutil.rmtree(clone.dest)
    clone.dest.mkdir()
    (clone.dest / "precious").write_text("x")
    for check in (True, False):
        assert "neither empty nor a git repository" in clone.failure(check=check, force=True)
    assert (clone.dest / "precious").exists()
    shutil.rmtree(clone.dest)
    clone.dest.write_text("")
    assert "is no directory" in clone.failure()


def test_a_folder_in_another_repository_is_not_taken_for_it(clone: Clone, upstream: Upstream) -> None:
    clone.converge()
    inner = Clone(clone.board, upstream, clone.dest / "inner")
    inner.converge(version="v1")
    assert clone.git("branch", "--show-current") == "main"


def test_archives_and_separate_git_directories(clone: Clone, tmp_path: Path) -> None:
    archive = tmp_path / "out" / "a.tar.gz"
    assert clone.run(archive=str(archive), archive_prefix="x/")["changed"]
    listing = subprocess.run(["tar", "tf", archive], check=True, capture_output=True, text=True).stdout.split()
    assert "x/file" in listing
    assert not clone.run(archive=str(archive), archive_prefix="x/")["changed"]
    assert clone.run(archive=str(archive))["changed"]
    assert "must end with" in clone.failure(archive=str(tmp_path / "a.rar"))
    done = clone.converge(separate_git_dir=str(tmp_path / "moved"))
    assert done["git_dir_now"] == str(tmp_path / "moved")
    assert (clone.dest / ".git").read_text() == f"gitdir: {tmp_path}/moved\n"
    assert clone.git("submodule", "status")[0] not in "-+U"
    other = Clone(clone.board, clone.upstream, tmp_path / "other")
    other.converge(separate_git_dir=str(tmp_path / "separate"))
    assert (tmp_path / "separate/HEAD").exists()


def test_objects_of_a_reference_and_the_umask(clone: Clone, upstream: Upstream, tmp_path: Path) -> None:
    clone.converge(reference=str(upstream.path), umask="0077")
    alternates = clone.dest / ".git/objects/info/alternates"
    assert alternates.read_text().strip() == str(upstream.path / ".git/objects")
    assert (clone.dest / "file").stat().st_mode & 0o777 == 0o600
    other = Clone(clone.board, upstream, tmp_path / "other")
    assert "no git repository" in other.failure(reference=str(tmp_path))


@pytest.mark.parametrize("damage", ["lock", "files", "empty objects", "no head", "no submodule", "half a submodule"])
def test_an_interrupted_change_is_mended(clone: Clone, upstream: Upstream, damage: str) -> None:
    clone.converge()
    git_dir = clone.dest / ".git"
    (git_dir / "tvmops-unfinished").write_text("")
    (git_dir / "index.lock").write_text("")
    if damage == "files":
        (clone.dest / "file").write_text("")
    if damage == "empty objects":
        for path in [*git_dir.glob("objects/pack/*"), *git_dir.glob("objects/??/*")]:
            path.chmod(0o600)
            path.write_bytes(b"")
    if damage == "no submodule":
        shutil.rmtree(git_dir / "modules")
    if damage == "half a submodule":
        shutil.rmtree(git_dir / "modules/lib/objects")
        (git_dir / "modules/lib/HEAD").write_bytes(b"")
    if damage == "no head":
        (git_dir / "refs/heads/main").write_bytes(b"")
    clone.converge()
    assert clone.git("status", "-sb").splitlines() == ["## main...origin/main"]
    assert clone.git("fsck") == ""
    assert (clone.dest / "lib/file").read_text() == "inner\n"


def test_a_clone_that_was_cut_off_at_its_very_start(clone: Clone) -> None:
    (clone.dest / ".git").mkdir(parents=True)
    clone.converge()


def test_a_repository_of_another_user(clone: Clone, upstream: Upstream) -> None:
    clone.converge()
    args = {"repo": upstream.url, "dest": str(clone.dest)}
    environment = {**SETTINGS, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    result = clone.board.task("git", args, environment=environment)
    assert result["failed"]
    assert "safe.directory" in result["msg"]


# What git asks of gpg: a signature for anything, and who made it.
GPG = """#!/bin/sh
cat > /dev/null
case "$*" in
*--verify*) echo "[GNUPG:] NEWSIG"
  echo "[GNUPG:] GOODSIG 0123456789ABCDEF t"
  echo "[GNUPG:] VALIDSIG {key} 2020-01-01 1577836800 0 4 0 22 8 00 {primary}"
  echo "[GNUPG:] TRUST_ULTIMATE 0 pgp" ;;
*) printf -- "-----BEGIN PGP SIGNATURE-----\\n\\nAAAA\\n-----END PGP SIGNATURE-----\\n"
  echo "[GNUPG:] SIG_CREATED " >&2 ;;
esac
"""


def test_only_signed_commits_and_only_by_these_keys(clone: Clone, upstream: Upstream, tmp_path: Path) -> None:
    gpg = tmp_path / "gpg"
    gpg.write_text(GPG.format(key="A" * 40, primary="B" * 40))
    gpg.chmod(0o755)
    assert "has no valid signature" in clone.failure(verify_commit=True)
    upstream.git("config", "gpg.program", str(gpg))
    upstream.git("config", "user.signingkey", "x")
    signing = {"main": ["commit", "-q", "--allow-empty", "-S", "-m", "s"], "v5": ["tag", "-s", "v5", "-m", "s"]}
    for version, words in signing.items():
        upstream.git(*words)
        environment = {**SETTINGS, "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_1": "gpg.program"}
        environment["GIT_CONFIG_VALUE_1"] = str(gpg)
        args = {"repo": upstream.url, "dest": str(clone.dest), "version": version, "verify_commit": True}
        refused = clone.board.task("git", {**args, "gpg_allowlist": ["C" * 40]}, environment=environment)
        assert "signed by " + "A" * 40 in refused["msg"]
        for keys in ([], ["b" * 40], ["A" * 40]):
            good = clone.board.task("git", {**args, "gpg_allowlist": keys}, environment=environment)
            assert (good["failed"], good["after"]) == (False, upstream.hash(version)), good
    assert "has no valid signature" in clone.failure(verify_commit=True, version="v1")


class Refusing(BaseHTTPRequestHandler):
    """A server that wants a password, and has nothing under /gone."""

    def do_GET(self) -> None:
        self.send_response(404 if "/gone" in self.path else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def test_faults_of_the_remote_are_named_without_its_password(clone: Clone, server: str) -> None:
    assert "wants a user and a password" in clone.failure(repo=f"http://{server}/x.git")
    for path in ("gone", "x.git"):
        result = clone.run(repo=f"http://me:s3cret@{server}/{path}")
        assert result["failed"]
        assert "s3cret" not in str(result)
    assert "git ls-remote" in clone.failure(repo="http://127.0.0.1:1/x.git")
    assert not clone.dest.exists()
    clone.converge()
    clone.git("config", "remote.origin.url", f"http://me:0ld@{server}/x")
    result = clone.run(diff=True, check=True)
    assert "0ld" not in str(result)


def test_ssh_gets_deadlines_keys_and_no_questions(clone: Clone, tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\necho "fatal: $*" | tr "\\n" " " >&2\nexit 255\n')
    ssh.chmod(0o755)
    environment = {**SETTINGS, "GIT_SSH_COMMAND": str(ssh), "GIT_SSH_VARIANT": "ssh"}
    args = {
        "repo": "ssh://git@board.invalid/x.git",
        "dest": str(clone.dest),
        "key_file": "/keys/a key",
        "accept_newhostkey": True,
        "ssh_opts": "-o Port=1",
    }
    said = clone.board.task("git", args, environment=environment)["stderr"]
    for word in ("BatchMode=yes", "ConnectTimeout=", "-i /keys/a key", "IdentitiesOnly=yes", "accept-new", "Port=1"):
        assert word in said
    assert "cannot go with" in clone.failure(accept_newhostkey=True, accept_hostkey=True)
