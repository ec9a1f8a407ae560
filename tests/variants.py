"""Other versions of an artifact, made by changing some of its files: what a rebuild would give, in no time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tvmops.stack.artifact import Artifact, manifest_key, read_archive, version_file, write_archive
from tvmops.stack.store import Store


def variant(artifact: Artifact, folder: Path, changes: Mapping[str, bytes], **said: object) -> Artifact:
    """The artifact with other contents for some files; `said` goes into its manifest."""
    contents = {name: data for name, _, data in read_archive(artifact.path)}
    modes = {name: mode for name, mode, _ in read_archive(artifact.path)}
    unknown = set(changes) - set(contents)
    assert not unknown, unknown
    contents.update(changes)
    manifest = {**json.loads(json.dumps(artifact.manifest)), **said}
    for name, data in changes.items():
        manifest["files"][name].update(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    key = manifest_key(manifest)
    contents["manifest.json"] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    contents["VERSION"] = version_file(manifest, key)
    path = folder / f"{key}.tar.gz"
    with path.open("wb") as out:
        write_archive(out, contents, modes)
    return Artifact(key, path, path.stat().st_size, manifest)


def touched(artifact: Artifact, share: float, mark: str) -> dict[str, bytes]:
    """Changes to every n-th Python file, so that `share` of them differ: a comment at the end."""
    every = max(1, round(1 / share))
    sources = {name: data for name, _, data in read_archive(artifact.path) if name.endswith(".py")}
    chosen = sorted(sources)[::every]
    return {name: sources[name] + f"\n# {mark}\n".encode() for name in chosen}


def stored(artifact: Artifact, store: Path) -> str:
    """Put it into a store; its key."""
    return Store(str(store)).put(artifact).key
