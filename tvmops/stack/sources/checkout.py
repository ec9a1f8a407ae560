"""A git checkout that somebody works in: which of its files are sources, and how it differs from its commit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import StackError
from tvmops.stack.sources.git_program import Git, GitFailed, make_git


@dataclass
class Checked:
    """Its paths (tracked, or new and not ignored), its commit ("-changed" behind it where files differ), submodules."""

    names: list[str]
    commit: str
    submodules: dict[str, str]
    notes: list[str]


def read_checkout(folder: Path, work: Path) -> Checked:
    """Look a checkout over with git, changing nothing. Raises StackError."""
    try:
        return _read(folder, make_git(work, (), {}))
    except GitFailed as failed:
        raise StackError(
            f"{folder} has a .git, but git cannot read it: {failed.output.strip()}",
            "repair the checkout, or name a copy of its files without any .git",
        ) from None


def _read(folder: Path, git: Git) -> Checked:
    names: list[str] = []
    submodules: dict[str, str] = {}
    notes: list[str] = []
    for where, recorded, commit in _repositories(git, folder, ""):
        prefix = f"{where}/" if where else ""
        listed = git.run(folder / where, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        names += [prefix + name for name in listed if name and _is_file(folder / where / name)]
        if where:
            submodules[where] = commit
            if commit != recorded:
                notes.append(f"submodule {where} is at {commit[:12]}, not at {recorded[:12]} as the commit records")
    changed = git.run(folder, "status", "--porcelain", "--ignore-submodules=none").splitlines()
    head = git.run(folder, "rev-parse", "HEAD").strip()
    if changed:
        notes.append(f"{len(changed)} files differ from commit {head[:12]}, the first: {changed[0].strip()}")
    return Checked(sorted(set(names)), head + ("-changed" if changed else ""), submodules, notes)


def _repositories(git: Git, folder: Path, where: str) -> Iterator[tuple[str, str, str]]:
    """The repository at `where` in `folder` and the submodules that are there: path, recorded and present commit."""
    if not where:
        yield "", "", ""
    prefix = f"{where}/" if where else ""
    for line in git.run(folder / where, "ls-files", "-z", "--stage").split("\0"):
        about, _, name = line.partition("\t")
        if not about.startswith("160000 ") or not (folder / where / name / ".git").exists():
            continue
        inner = prefix + name
        yield inner, about.split()[1], git.run(folder / inner, "rev-parse", "HEAD").strip()
        yield from _repositories(git, folder, inner)


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())
