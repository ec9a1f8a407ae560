"""How each kind of source is turned into a folder that holds the tree."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tvmops.digests import file_sha256
from tvmops.errors import ConfigError, StackError
from tvmops.stack.environment import OnProgress
from tvmops.stack.sources.checkout import Checked, read_checkout
from tvmops.stack.sources.download import download
from tvmops.stack.sources.git import checkout
from tvmops.stack.sources.keep import sources_dir
from tvmops.stack.sources.request import check_url, mirrored
from tvmops.stack.sources.rules import takes
from tvmops.stack.sources.unpack import unpack
from tvmops.stack.sources.wheel import fetch_wheel


@dataclass(frozen=True)
class Job:
    """One source to be fetched. `work` is a folder of its own; `lasting` outlives a failure, so that git can go on."""

    source: Mapping[str, Any]
    work: Path
    lasting: Path
    mirrors: Mapping[str, str]
    on_progress: OnProgress


@dataclass
class Fetched:
    """What a source gave: a folder, and which of its paths belong to the tree (None: all)."""

    folder: Path
    names: Callable[[], Iterator[str]] | None = None
    commit: str = ""
    submodules: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def fetch_kind(job: Job) -> Fetched:
    """Fetch one source. Raises StackError, OSError."""
    return _KINDS[str(job.source["kind"])](job)


def _from_git(job: Job) -> Fetched:
    check_url(str(job.source["url"]))
    found = checkout(job.source, job.lasting, job.mirrors, job.on_progress)
    return Fetched(found.folder, None, found.commit, found.submodules)


def _from_archive(job: Job) -> Fetched:
    path = _archive(job)
    job.on_progress(f"unpacking {path.name}")
    strip = job.source.get("strip")
    unpack(path, job.work / "archive", 0 if strip is None else int(strip))
    inside = list((job.work / "archive").iterdir())
    # Nobody said how many folders to drop: a release has all that it holds in one.
    single = strip is None and len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink()
    return Fetched(inside[0] if single else job.work / "archive")


def _archive(job: Job) -> Path:
    """The archive, on this machine and verified."""
    if "path" in job.source:
        return Path(str(job.source["path"]))
    url, sha256 = mirrored(str(job.source["url"]), job.mirrors), str(job.source["sha256"])
    check_url(url)
    if "://" not in url or url.startswith("file://"):
        return _local(Path(url.removeprefix("file://")), sha256)
    if urlsplit(url).scheme not in ("https", "http"):
        raise ConfigError(f"{url}: archives are not fetched by {urlsplit(url).scheme}", "use https, http or a path")
    path = sources_dir() / "downloads" / f"{sha256[:16]}-{Path(urlsplit(url).path).name}"
    if not path.is_file() or file_sha256(path) != sha256:
        job.on_progress(f"fetching {url}")
        download(url, path, sha256, job.on_progress)
    return path


def _local(path: Path, sha256: str) -> Path:
    if not path.is_file():
        raise StackError(f"there is no file {path}", "a mirror given as a path must hold the archive")
    digest = file_sha256(path)
    if digest != sha256:
        raise StackError(f"{path} has the SHA-256 {digest}, not {sha256}", "it is damaged, or another file")
    return path


def _from_wheel(job: Job) -> Fetched:
    path = Path(str(job.source["path"])) if "path" in job.source else fetch_wheel(job.source, job.on_progress)
    job.on_progress(f"unpacking {job.source['pin']}")
    root = str(job.source.get("root") or "").strip("/")
    above = f"{root}/" if root else ""
    unpack(path, job.work / "wheel", wanted=lambda name: name.startswith(above) and takes(name[len(above) :]))
    return Fetched(job.work / "wheel" / root)


def _from_folder(job: Job) -> Fetched:
    folder = Path(str(job.source["path"]))
    if not (folder / ".git").exists() or shutil.which("git") is None:
        return Fetched(folder)
    found: Checked = read_checkout(folder, job.work)
    return Fetched(folder, lambda: iter(found.names), found.commit, found.submodules, found.notes)


_KINDS: dict[str, Callable[[Job], Fetched]] = {
    "git": _from_git,
    "archive": _from_archive,
    "wheel": _from_wheel,
    "folder": _from_folder,
}
