"""The store of artifacts: a folder, or any fsspec URL that a team shares. What it gives was checked against its hash.

<key>.tar.zst  <key>.json        an artifact; its .json is written last and says that it is there
builds/<build key>.json          the artifact that a build with these inputs gave
builds/<build key>.building      who builds it now (in stores that are no folder of this machine)
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tvmops.digests import file_sha256
from tvmops.errors import StackError
from tvmops.paths import cache_dir
from tvmops.stack.abi import abi_of, mismatches
from tvmops.stack.artifact import Artifact, manifest_key
from tvmops.stack.cmake import same_value
from tvmops.stack.environment import OnProgress, locked, quiet
from tvmops.stack.spec import Stack
from tvmops.stack.store_files import StoreFiles
from tvmops.stack.store_lease import leased

FORMAT = 1  # of a store
_NAME = re.compile(r"[0-9a-f]{16}\.json$")
BUILD_DEADLINE = 8 * 3600.0  # seconds to wait for another's build: a full compiler on a small board


def store_url(given: str | None = None) -> str:
    """The store that is meant: `given` (--store), else $TVMOPS_STORE, else the folder in the cache."""
    return given or os.environ.get("TVMOPS_STORE") or str(local_folder())


def local_folder() -> Path:
    """Where artifacts are on this machine."""
    return cache_dir() / "artifacts"


class Damaged(StackError):
    """An entry of the store that cannot be used."""


class Store:
    """Artifacts by key. `variables` say how the host of an sftp URL is reached."""

    def __init__(self, url: str | None = None, variables: Mapping[str, Any] | None = None) -> None:
        """Raises StackError for a URL that cannot be used."""
        self.url = store_url(url)
        self._files = StoreFiles(self.url, variables)

    def find(self, build_key: str) -> Artifact | None:
        """What a build with these inputs gave, checked; None when nobody has built it. Raises StackError."""
        text = self._files.read(f"builds/{build_key}.json")
        if text is None:
            return None
        key = str(self._json(text, f"builds/{build_key}.json").get("artifact", ""))
        return self.get(key) if self._files.read(f"{key}.json") is not None else None

    def get(self, key: str) -> Artifact:
        """The artifact `key`, on this machine and checked. Raises StackError when it is not there or damaged."""
        entry = self._entry(key) if re.fullmatch(r"[0-9a-f]{16}", key) else None
        if entry is None:
            raise StackError(f"store {self.url} has no artifact '{key}'", "see: tvmops release.list, or build it")
        path = self._local(key, entry["sha256"])
        return Artifact(key, path, path.stat().st_size, entry["manifest"])

    def _entry(self, key: str) -> dict[str, Any] | None:
        """What says that an artifact is there, None when nothing does. Raises StackError when that is damaged."""
        text = self._files.read(f"{key}.json")
        if text is None:
            return None
        entry = self._json(text, f"{key}.json")
        manifest, sha256 = entry.get("manifest"), entry.get("sha256")
        whole = entry.get("format") == FORMAT and isinstance(manifest, dict) and isinstance(sha256, str)
        if not whole or not isinstance(entry.get("stored_at", 0), int) or manifest_key(entry["manifest"]) != key:
            raise Damaged(f"store {self.url}: {key}.json is damaged", "remove it, then build again")
        return entry

    def _local(self, key: str, sha256: str) -> Path:
        name = f"{key}.tar.zst"
        if self._files.folder is not None:
            path = self._files.folder / name
            self._check(path, sha256)
            return path
        path = local_folder() / name
        if path.is_file() and file_sha256(path) == sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{name}.{secrets.token_hex(4)}.part")
        try:
            if not self._files.fetch(name, part):
                raise StackError(f"store {self.url}: {name} is missing", f"remove {key}.json, then build again")
            self._check(part, sha256)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def _check(self, path: Path, sha256: str) -> None:
        try:
            found = file_sha256(path)
        except FileNotFoundError:
            raise StackError(f"store {self.url}: {path.name} is missing", "build it again") from None
        if found != sha256:
            raise StackError(
                f"store {self.url}: {path.name} is damaged (SHA-256 {found[:12]}…, not {sha256[:12]}…)",
                "remove it from the store, then build again",
            )

    def put(self, artifact: Artifact, build_key: str = "") -> Artifact:
        """Keep an artifact, and note which build gave it; returns it as the store has it. Raises StackError."""
        if not self._whole(artifact.key):
            entry = {"format": FORMAT, "key": artifact.key, "size": artifact.size, "manifest": artifact.manifest}
            entry["stored_at"] = int(time.time())
            self._files.write(f"{artifact.key}.tar.zst", artifact.path)
            self._files.write(f"{artifact.key}.json", _text({**entry, "sha256": file_sha256(artifact.path)}))
        if build_key:
            self._files.write(f"builds/{build_key}.json", _text({"format": FORMAT, "artifact": artifact.key}))
        return self.get(artifact.key)

    def _whole(self, key: str) -> bool:
        try:
            self.get(key)
        except StackError:
            return False
        return True

    def keys(self) -> list[str]:
        """The keys of all artifacts that are there. Raises StackError."""
        return [name[: -len(".json")] for name in self._files.names() if _NAME.match(name)]

    def manifests(self) -> dict[str, dict[str, Any]]:
        """The manifest of every artifact, by key, what was stored last first; damaged ones are left out.

        Raises StackError.
        """
        entries: dict[str, dict[str, Any]] = {}
        for key in self.keys():
            try:
                entry = self._entry(key)
            except Damaged:
                continue
            if entry is not None:
                entries[key] = entry
        newest_first = sorted(entries, key=lambda key: int(entries[key].get("stored_at", 0)), reverse=True)
        return {key: entries[key]["manifest"] for key in newest_first}

    def newest_for(self, stack: Stack, facts: Mapping[str, Any], options: Mapping[str, str] | None = None) -> Artifact:
        """The artifact of `stack` that was stored last among those that run on a board with these facts.

        `options` are the board's own (tvm_build_options): what was built with them and the stack's comes before what
        was built with more. Raises StackError when there is none, with what stands against the newest that is there.
        """
        whole = {**stack.options.get("runtime", {}), **(options or {})}
        against: list[str] = []
        fitting: list[str] = []
        for key, manifest in self.manifests().items():
            if manifest.get("stack") != stack.name or manifest.get("part") != "runtime":
                continue
            reasons = mismatches(manifest, facts) + _other_options(manifest, options or {})
            if not reasons:
                built_with = manifest.get("options") or {}
                if built_with.keys() == whole.keys() and not _other_options(manifest, whole):
                    return self.get(key)
                fitting.append(key)
            against = against or [f"the newest, {key}: {'; '.join(reasons)}"]
        if fitting:
            return self.get(fitting[0])
        why = f" ({against[0]})" if against else ""
        raise StackError(
            f"store {self.url} has no artifact of stack {stack.name} for a board of {abi_of(facts)}{why}",
            "build it: tvmops build --host NAME",
        )

    @contextmanager
    def building(self, build_key: str, on_progress: OnProgress = quiet) -> Iterator[None]:
        """Hold the right to build this key; another's build is waited for. A builder that died holds nothing."""
        folder = self._files.folder if self._files.folder is not None else local_folder()
        with ExitStack() as held:
            held.enter_context(locked(folder / "builds" / f"{build_key}.lock", on_progress, BUILD_DEADLINE))
            if self._files.folder is None:
                held.enter_context(leased(self._files, f"builds/{build_key}.building", on_progress, BUILD_DEADLINE))
            yield

    def close(self) -> None:
        """End the connection to the store, where there is one."""
        self._files.close()

    def _json(self, text: bytes, name: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Damaged(f"store {self.url}: {name} is damaged", "remove it, then build again")
        return value


def _other_options(manifest: Mapping[str, Any], wanted: Mapping[str, str]) -> list[str]:
    """In which options an artifact is not what is wanted, a sentence each."""
    has: Mapping[str, str] = manifest.get("options") or {}
    return [
        f"it was built with {name}={has.get(name) or 'OFF'}, the board wants {value}"
        for name, value in sorted(wanted.items())
        if not same_value(has.get(name, "OFF"), value)
    ]


def _text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
