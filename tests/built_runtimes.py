"""Runtimes of TVM 0.19, really built by `tvmops build`; kept in the caches of this user between test runs."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from build_runs import HOSTS, Builds

from tvmops.stack.artifact import Artifact
from tvmops.stack.store import Store

ARCHITECTURES = ("x86_64", "aarch64", "armv7l")
BUILD_SECONDS = 1700.0  # two cores, nothing cached, all three


@functools.cache
def built_runtime(arch: str) -> Artifact:
    """The artifact of stack relay-0.19 for Debian 12 on `arch` (x86_64, aarch64, armv7l); built when it is not there.

    From nothing that takes minutes of compiling; with ccache or the store, seconds. Tests that call it should have
    `@pytest.mark.timeout(BUILD_SECONDS)`.
    """
    return built_runtimes(arch)[arch]


def built_runtimes(*architectures: str) -> dict[str, Artifact]:
    """As built_runtime for several, in one run: by architecture."""
    with tempfile.TemporaryDirectory(prefix="tvmops-built-") as folder:
        builds = Builds(Path(folder), {arch: HOSTS[arch] for arch in architectures}, shared_caches=True)
        done = builds.run("--json", timeout=BUILD_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        store = Store()
        return {arch: store.get(str(one["key"])) for arch, one in builds.given(done).items()}
