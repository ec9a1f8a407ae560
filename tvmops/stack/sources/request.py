"""What a user asks for with --source: a source of the stack, or another place that holds the same thing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tvmops.digests import file_sha256
from tvmops.errors import ConfigError, StackError
from tvmops.paths import exists, user_path
from tvmops.source import did_you_mean
from tvmops.stack.spec import Stack

MIRRORS_VARIABLE = "TVMOPS_SOURCE_MIRRORS"
ARCHIVE = re.compile(r"\.(tar|tgz|txz|tar\.(gz|bz2|xz|zst)|zip|whl)$", re.IGNORECASE)
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")
_SCP = re.compile(r"^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!/)\S+$|^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:/\S+$")
_BUNDLE = (b"# v2 git bundle", b"# v3 git bundle")


@dataclass(frozen=True)
class Request:
    """One source that was asked for. `source` is in the form of a stack's sources, with `path` for a file or folder of
    this machine; `pinned`: it always gives the same content. `parts` are sources that fill folders of the tree.
    """

    source: Mapping[str, Any]
    origin: str
    pinned: bool = True
    parts: tuple[tuple[str, Mapping[str, Any]], ...] = ()


def resolve(stack: Stack, choice: str | None, sha256: str = "") -> Request:
    """What `choice` means: the name of a source (default: the stack's first), a path or a URL; `+part` adds a part.

    `sha256` pins an archive that the stack does not pin. Raises ConfigError; StackError for a file with another hash.
    """
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise ConfigError(f"--sha256 {sha256}: that is no SHA-256", "it has 64 hex digits: sha256sum FILE")
    sha256 = sha256.lower()
    names = [name for name, source in stack.sources.items() if not source.get("into")]
    if choice is None:
        if not names:
            raise ConfigError(
                f"stack {stack.name} has no sources: it is made of wheels", "choose one that has: stack.list"
            )
        choice = names[0]
    choice, parts = _split_parts(stack, choice)
    source, origin = _find(stack, choice, names, sha256)
    if sha256 and "sha256" not in source:
        raise ConfigError(f"--sha256: {choice} is no archive", "a git source is pinned by the stack's commit")
    return Request(source, origin, source["kind"] != "folder", parts)


def parse_mirrors(given: Sequence[str] = ()) -> dict[str, str]:
    """FROM=TO pairs of --mirror and of $TVMOPS_SOURCE_MIRRORS: beginnings of URLs, and what is asked instead."""
    mirrors: dict[str, str] = {}
    for pair in [*os.environ.get(MIRRORS_VARIABLE, "").split(), *given]:
        asked, equals, instead = pair.partition("=")
        if not equals or not asked or not instead:
            raise ConfigError(f"--mirror {pair}: it is not of the form FROM=TO", "https://github.com/=https://lan/git/")
        if not _URL.match(instead) and not _SCP.match(instead):
            path = user_path(instead)
            if not exists(path):
                raise ConfigError(f"--mirror {pair}: there is no {path}", "a mirror is a URL, or a path that exists")
            instead = str(path.absolute()) + ("/" if instead.endswith("/") else "")
        check_url(instead)
        mirrors[asked] = instead
    return mirrors


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """The URL that is asked instead of `url`: the longest beginning counts, as with git."""
    for asked in sorted(mirrors, key=len, reverse=True):
        if url.startswith(asked):
            return mirrors[asked] + url[len(asked) :]
    return url


def check_url(url: str) -> None:
    """Raise ConfigError for what is no URL, or has a login in it: it would show in logs and in the list of processes.

    A user's name alone is a login, too, but with ssh: many servers take tokens there.
    """
    if not _URL.match(url):
        return
    try:
        parts = urlsplit(url)
        host, web, _ = parts.hostname or "", parts.scheme.lower() in ("https", "http"), parts.port
        host.encode("idna")
    except ValueError as error:
        raise ConfigError(f"'{url.rpartition('@')[2]}' is no URL: {error}", "it is like https://host/path") from None
    if parts.password is not None or (web and parts.username is not None):
        where = f"at {host}" if host else "without a host"
        raise ConfigError(f"the URL {where} holds a login", "for git: put it into ~/.netrc or a credential helper")
    if web and not host:
        raise ConfigError(f"'{url}' is no URL: it names no host", "it is like https://host/path")


def _split_parts(stack: Stack, choice: str) -> tuple[str, tuple[tuple[str, Mapping[str, Any]], ...]]:
    parts: list[tuple[str, Mapping[str, Any]]] = []
    while "+" in choice:
        rest, _, name = choice.rpartition("+")
        source = stack.sources.get(name)
        if source is None or not source.get("into"):
            break  # a + of a file's name
        parts.insert(0, (name, source))
        choice = rest
    return choice, tuple(parts)


def _find(stack: Stack, choice: str, names: list[str], sha256: str) -> tuple[Mapping[str, Any], str]:
    if choice in names:
        return stack.sources[choice], f"source {choice} of stack {stack.name}"
    path = user_path(choice.removeprefix("file://"))
    if exists(path):
        return _of_path(stack, path.resolve(), sha256), str(path)
    if _URL.match(choice) or _SCP.match(choice):
        check_url(choice)
        return _of_url(stack, choice, sha256), choice
    raise ConfigError(
        f"--source {choice}: stack {stack.name} has no such source, and there is no such file or folder",
        did_you_mean(choice, names) or f"its sources: {', '.join(names) or 'none'}",
    )


def _of_path(stack: Stack, path: Path, sha256: str) -> Mapping[str, Any]:
    if path.is_dir():
        if all((path / name).exists() for name in ("HEAD", "objects", "refs")):
            return _git_at(stack, str(path))
        return {"kind": "folder", "path": str(path)}
    with path.open("rb") as handle:
        if handle.read(15) in _BUNDLE:
            return _git_at(stack, str(path))
    digest = file_sha256(path)
    if sha256 and digest != sha256:
        raise StackError(f"{path} has the SHA-256 {digest}, not {sha256}", "it is damaged, or another file")
    for source in stack.sources.values():
        if source.get("sha256") == digest:
            return {**source, "path": str(path)}
    if not sha256:
        raise ConfigError(
            f"{path} is no archive that stack {stack.name} pins",
            f"if it is to be trusted, add --sha256 {digest}",
        )
    return {"kind": "archive", "path": str(path), "sha256": sha256, "strip": None}


def _of_url(stack: Stack, url: str, sha256: str) -> Mapping[str, Any]:
    scheme = urlsplit(url).scheme.lower() if _URL.match(url) else "ssh"
    if scheme not in ("https", "http", "ssh", "git"):
        raise ConfigError(f"--source {url}: {scheme} is not supported", "use https, ssh, http, git, or a path")
    name = urlsplit(url).path.rpartition("/")[2]
    if scheme not in ("https", "http") or not (ARCHIVE.search(name) or sha256):
        return _git_at(stack, url)
    for source in stack.sources.values():
        known = str(source.get("url", "")).rpartition("/")[2]
        if source["kind"] == "archive" and name == known and sha256 in ("", source["sha256"]):
            return {**source, "url": url}
    if not sha256:
        raise ConfigError(
            f"--source {url}: stack {stack.name} pins no archive of that name",
            "say which file you trust: --sha256 HEX, from the publisher's page, not from the same server",
        )
    return {"kind": "archive", "url": url, "sha256": sha256, "strip": None}


def _git_at(stack: Stack, url: str) -> Mapping[str, Any]:
    """The stack's git source, fetched from another place: the pinned commit says what it must be."""
    for source in stack.sources.values():
        if source["kind"] == "git" and not source.get("into"):
            return {**source, "url": url}
    raise ConfigError(
        f"--source {url}: stack {stack.name} pins no commit, so a git repository cannot be verified",
        "add a git source (url, ref, commit) to the stack file, or name a checked-out folder",
    )
