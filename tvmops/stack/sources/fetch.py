"""Getting the source tree of a stack: fetched where it was asked for, completed, looked over and kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError, StackError
from tvmops.stack.environment import OnProgress, locked, quiet
from tvmops.stack.sources import rules
from tvmops.stack.sources.checks import inspect
from tvmops.stack.sources.keep import disk_error, keep, recall, remember, sources_dir, work_folder
from tvmops.stack.sources.kinds import Fetched, Job, fetch_kind
from tvmops.stack.sources.request import Request, parse_mirrors, resolve
from tvmops.stack.sources.tree import IDENTITY_FORMAT, SourceTree, identity, read_entry, walk
from tvmops.stack.spec import Stack

FETCH_DEADLINE = 7200.0  # seconds that a second process waits for the first


def fetch_source(
    stack: Stack,
    choice: str | None = None,
    on_progress: OnProgress = quiet,
    *,
    sha256: str = "",
    mirrors: Mapping[str, str] | None = None,
) -> SourceTree:
    """The source tree of `stack`, fetched once: of its source `choice` (default: the first), or of a path or URL.

    `sha256` pins an archive of the user's; `mirrors` maps beginnings of URLs (default: $TVMOPS_SOURCE_MIRRORS). A
    folder is read each time. Raises ConfigError for what was asked, StackError when it cannot be had or is not right.
    """
    request = resolve(stack, choice, sha256)
    overlay = _overlay(stack, request.source)
    key = _key(request, overlay)
    mirrors = parse_mirrors() if mirrors is None else mirrors
    with locked(sources_dir() / "requests" / f"{key}.lock", on_progress, FETCH_DEADLINE):
        known = recall(key) if request.pinned else None
        if known is not None:
            return replace(known, origin=request.origin)
        try:
            tree = _fetch(request, key, overlay, mirrors, on_progress)
        except OSError as error:
            raise disk_error(error, f"getting {request.origin}") from None
        remember(key, tree)
    return tree


def _fetch(
    request: Request, key: str, overlay: Path | None, mirrors: Mapping[str, str], on_progress: OnProgress
) -> SourceTree:
    lasting = sources_dir() / f".git-{key}"
    with work_folder("fetching") as work:
        found = fetch_kind(Job(request.source, work, lasting / "tree", mirrors, on_progress))
        if (overlay or request.parts) and not found.folder.is_relative_to(sources_dir()):
            found = _copied(found, work / "copy")  # a folder of the user's stays as it is
        for name, part in request.parts:
            place = work / f"part-{name}"
            place.mkdir()
            _add_part(found, part, Job(part, place, lasting / name, mirrors, on_progress))
        if overlay is not None:
            _lay_over(overlay, found.folder)
        tree = _kept(request, found, on_progress)
    shutil.rmtree(lasting, ignore_errors=True)
    return tree


def _kept(request: Request, found: Fetched, on_progress: OnProgress) -> SourceTree:
    findings = inspect(found.folder, request.origin)
    about = SourceTree(
        kind=str(request.source["kind"]),
        folder=found.folder,
        archive=found.folder,
        identity="",
        commit=found.commit,
        submodules=found.submodules,
        complete=findings.complete and bool(request.source.get("complete", True)),
        origin=request.origin,
        absent=findings.absent,
        notes=tuple(found.notes),
    )
    return keep(about, found.names() if found.names else None, on_progress)


def _copied(found: Fetched, target: Path) -> Fetched:
    for name in walk(found.folder, found.names() if found.names else None):
        read_entry(found.folder, name)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(found.folder / name, target / name, follow_symlinks=False)
    return replace(found, folder=target, names=None)


def _add_part(found: Fetched, part: Mapping[str, Any], job: Job) -> None:
    """Put the tree of `part` into its folder of the tree, which must be missing or empty."""
    into = str(part["into"])
    target = found.folder / into
    if target.is_dir() and any(item.name != ".git" for item in target.iterdir()):
        raise StackError(f"the source tree has {into} already", "leave the part out of --source")
    fetched = fetch_kind(job)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(fetched.folder, target, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    found.submodules[into] = fetched.commit
    found.submodules.update({f"{into}/{path}": commit for path, commit in fetched.submodules.items()})


def _overlay(stack: Stack, source: Mapping[str, Any]) -> Path | None:
    name = str(source.get("overlay") or "")
    if not name:
        return None
    path = Path(stack.path).parent / name
    if not path.is_dir():
        raise ConfigError(f"{stack.path}: its overlay {path} is no folder", "overlays lie beside the stack file")
    return path


def _lay_over(overlay: Path, folder: Path) -> None:
    for name in walk(overlay):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(overlay / name, target)


def _key(request: Request, overlay: Path | None) -> str:
    """The name of a request: what is pinned, the overlay's content and the rules that choose files."""
    laid = identity(read_entry(overlay, name) for name in walk(overlay)) if overlay else ""
    asked = [_pinned(request.source), *(_pinned(part) for _, part in request.parts)]
    chosen = [rules.MADE, rules.MADE_ENDINGS, rules.UNREAD, rules.BUILT]
    text = json.dumps([IDENTITY_FORMAT, asked, laid, chosen], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _pinned(source: Mapping[str, Any]) -> dict[str, Any]:
    """What of a source decides its content: a mirror gives the same commit, and a file of the same hash is the same."""
    places = ("url", "ref") if source["kind"] == "folder" else ("url", "ref", "path")
    return {name: value for name, value in source.items() if name not in places}
