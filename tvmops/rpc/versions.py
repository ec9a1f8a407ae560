"""Which runtime a board carries, and whether it is the one that a stack compiles for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tvmops.connection import Connection
from tvmops.errors import RpcError
from tvmops.rpc.board import SHORT_SECONDS, ServerPlace


@dataclass(frozen=True)
class Release:
    """What `current` on a board is."""

    stack: str
    tvm: str
    key: str
    arch: str
    python: str


def current_release(connection: Connection, place: ServerPlace) -> Release:
    """The board's current release. Raises RpcError when there is none, HostUnreachable."""
    name = connection.host.name
    path = f"{place.prefix}/current/VERSION"
    done = connection.run(f"cat {shlex.quote(path)}", timeout=SHORT_SECONDS)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    fields = {word: value.strip() for word, separator, value in pairs if separator}
    if done.rc != 0 or not fields.get("tvm"):
        reason = "there is no TVM runtime on it" if done.rc != 0 else f"{path} does not say which TVM it is"
        raise RpcError(f"{name}: {reason}", f"provision it: tvmops provision --host {name}")
    get = fields.get
    return Release(get("stack", ""), fields["tvm"], get("key", ""), get("arch", ""), get("python", ""))


def check_release(host: str, release: Release, stack: str, version: str) -> None:
    """Raises RpcError, naming both, when modules that `stack` compiles with TVM `version` do not fit this release."""
    if release.tvm == version:
        return
    raise RpcError(
        f"{host}: its runtime is TVM {release.tvm} (stack {release.stack}, release {release.key}), "
        f"but stack {stack} compiles with TVM {version}",
        f"bring the matching runtime: tvmops provision --host {host} -e tvm_stack={stack}",
    )
