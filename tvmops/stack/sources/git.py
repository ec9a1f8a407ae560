"""Trees from git: one commit with its submodules at the recorded commits, compared with what the stack pins."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tvmops.errors import StackError
from tvmops.stack.environment import OnProgress
from tvmops.stack.sources.git_faults import broken_off, explain, unfit_for_shallow
from tvmops.stack.sources.git_program import Git, GitFailed, make_git

ATTEMPTS = 3  # for a connection that broke
PAUSE = 3.0  # seconds before the next attempt
_STATUS = re.compile(r"^(?P<mark>.)(?P<commit>[0-9a-f]{40}) (?P<path>.+?)(?: \([^()]*\))?$")
_LOCAL_NAME = "refs/tvmops/pinned"


@dataclass
class Checkout:
    """A working tree of one commit, and the submodules in it with their commits."""

    folder: Path
    commit: str
    submodules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Fetch:
    """One git source being fetched from `origin` into `folder`."""

    git: Git
    folder: Path
    origin: str
    ref: str
    commit: str
    on_progress: OnProgress

    def run(self, *arguments: str) -> str:
        return self.git.run(self.folder, *arguments, on_progress=self.on_progress)


def checkout(source: Mapping[str, Any], work: Path, mirrors: Mapping[str, str], on_progress: OnProgress) -> Checkout:
    """The commit that `source` pins (url, ref, commit), with all submodules, in `work`. Raises StackError.

    What is whole in `work` from an attempt before is not fetched again; an attempt that fails leaves no tree.
    """
    origin, ref, commit = str(source["url"]), str(source["ref"]), str(source["commit"])
    work.mkdir(parents=True, exist_ok=True)
    git = make_git(work, _protocols(origin, mirrors), mirrors)
    fetch = _Fetch(git, work / "repo", origin, ref, commit, on_progress)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _checkout(fetch)
        except GitFailed as failed:
            if attempt == ATTEMPTS or not broken_off(failed.output):
                raise explain(failed, origin, ref) from None
            on_progress(f"the connection to {origin} broke: trying again")
            time.sleep(PAUSE)
    raise AssertionError("unreachable")


def _protocols(origin: str, mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """https and ssh, and what the origin and the mirrors themselves speak: .gitmodules brings in no other."""
    spoken = {"https", "ssh"}
    for place in (origin, *mirrors.values()):
        scheme = urlsplit(place).scheme if "://" in place else ""
        spoken.add(scheme or ("ssh" if re.match(r"^[^/]+@[^/]+:", place) else "file"))
    return tuple(sorted(spoken & {"https", "ssh", "http", "git", "file"}))


def _checkout(fetch: _Fetch) -> Checkout:
    fetch.folder.mkdir(exist_ok=True)
    for lock in (fetch.folder / ".git").rglob("*.lock"):
        lock.unlink(missing_ok=True)  # of a git that was killed; nobody else works in this folder
    if not (fetch.folder / ".git" / "HEAD").exists():
        fetch.run("init", "--quiet")
    fetch.run("config", "remote.origin.url", fetch.origin)
    _get_commit(fetch)
    fetch.run("checkout", "--quiet", "--force", "--detach", fetch.commit)
    fetch.run("clean", "--quiet", "-ffdx")
    _get_submodules(fetch)
    return Checkout(fetch.folder, fetch.commit, _verified(fetch))


def _get_commit(fetch: _Fetch) -> None:
    """Bring the pinned commit. Raises StackError when the tag is another commit."""
    if _resolve(fetch, _LOCAL_NAME) == fetch.commit:
        return
    if fetch.ref.startswith("refs/tags/"):
        _fetch(fetch, fetch.ref)
    else:
        # A branch moves on: ask for the commit itself, and for the branch's history where the server gives tips alone.
        try:
            _fetch(fetch, fetch.commit)
        except GitFailed as failed:
            if broken_off(failed.output):
                raise
            _fetch(fetch, fetch.ref, shallow=False)
    found = _resolve(fetch, "FETCH_HEAD")
    if found != fetch.commit and (fetch.ref.startswith("refs/tags/") or not _holds(fetch)):
        raise StackError(
            f"{fetch.ref} of {fetch.origin} is commit {found}, but the stack pins {fetch.commit}",
            "the tag was moved, or this is another project's repository: nothing of it was kept",
        )
    fetch.run("update-ref", "--no-deref", _LOCAL_NAME, fetch.commit)


def _fetch(fetch: _Fetch, what: str, shallow: bool = True) -> None:
    arguments = ["fetch", "--no-tags", "--progress", "--force"]
    try:
        fetch.run(*arguments, *(["--depth=1"] if shallow else []), "origin", what)
    except GitFailed as failed:
        if not shallow or not unfit_for_shallow(failed.output):
            raise
        fetch.run(*arguments, "origin", what)


def _resolve(fetch: _Fetch, name: str) -> str:
    try:
        return fetch.run("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}").strip()
    except GitFailed:
        return ""


def _holds(fetch: _Fetch) -> bool:
    """Whether the pinned commit is in the history of what was fetched."""
    try:
        fetch.run("merge-base", "--is-ancestor", fetch.commit, "FETCH_HEAD")
    except GitFailed:
        return False
    return True


def _get_submodules(fetch: _Fetch) -> None:
    if not (fetch.folder / ".gitmodules").is_file():
        return
    fetch.run("submodule", "--quiet", "sync", "--recursive")
    update = ["submodule", "update", "--init", "--recursive", "--checkout", "--force", "--progress"]
    try:
        fetch.run(*update, "--depth=1")
    except GitFailed as failed:
        if broken_off(failed.output) or not unfit_for_shallow(failed.output):
            raise
        # A server that gives tips alone, or cannot shorten history: all of the submodules' history, from the beginning.
        fetch.run("submodule", "--quiet", "deinit", "--all", "--force")
        shutil.rmtree(fetch.folder / ".git" / "modules", ignore_errors=True)
        fetch.run(*update)


def _verified(fetch: _Fetch) -> dict[str, str]:
    """The submodules' commits. Raises StackError unless all of them, and every file, are as the commit records them."""
    submodules: dict[str, str] = {}
    for line in fetch.run("submodule", "status", "--recursive").splitlines():
        found = _STATUS.match(line)
        if found is None or found["mark"] != " ":
            raise StackError(f"a submodule is not at its recorded commit: {line.strip()}", "run again")
        submodules[found["path"]] = found["commit"]
    changes = fetch.run("status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none").splitlines()
    if changes:
        shutil.rmtree(fetch.folder, ignore_errors=True)
        raise StackError(
            f"the checkout of {fetch.origin} differs from its commit: {changes[0].strip()}",
            "it was removed; run again",
        )
    return submodules
