"""Building on another host: probed, sent, compiled and fetched over ssh; the link may break in between."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from build_runs import PI, Builds, ended
from ssh_servers import Sshd
from tiny_tvm import tiny_tree


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def strong(make_sshd: Callable[..., Sshd], home: Path) -> Sshd:
    """A host with this machine's compilers, whose user has an empty home."""
    return make_sshd(SetEnv=f"HOME={home}")


def test_on_another_host_through_a_broken_link(strong: Sshd, home: Path, tmp_path: Path) -> None:
    """The link is cut while it compiles: the build goes on there; the next run fetches what came of it."""
    tree = tiny_tree(tmp_path / "tree", slow="4 s")
    builds = Builds(tmp_path / "one", {"pi-1": PI, "pi-2": PI}, others={"strong": strong.vars()})
    process = builds.start("--source", str(tree), "--builder", "host:strong")
    work = home / ".cache/tvmops/build/relay-0.19-armv7l-hard-runtime"
    give_up = time.monotonic() + 120
    while not (work / "build" / "build.ninja").exists():
        assert time.monotonic() < give_up and process.poll() is None, process.communicate()
        time.sleep(0.05)
    _cut(strong)
    first = ended(process)
    again = builds.run("--source", str(tree), "--builder", "host:strong")
    assert again.returncode == 0, f"{first.stdout}{first.stderr}\n---\n{again.stdout}{again.stderr}"
    assert builds.manifests()["armv7l"]["build"] in first.stdout
    assert (work / "build.log").read_text().count("Linking CXX shared library") == 1
    assert "(host:strong, on strong, gcc" in first.stdout


def _cut(server: Sshd) -> None:
    """End the server's processes for connections, not what runs in their sessions."""
    for pid in server.processes():
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if pid != server.process.pid and name.startswith("sshd"):
                os.kill(pid, signal.SIGKILL)


def test_a_builder_that_cannot_be_reached_or_lacks_a_compiler_is_named(strong: Sshd, tmp_path: Path) -> None:
    tree = tiny_tree(tmp_path / "tree")
    others = {"strong": strong.vars(), "gone": strong.vars(ansible_port=1)}
    builds = Builds(tmp_path / "one", {"pi-1": PI}, others=others)
    gone = builds.run("--source", str(tree), "--builder", "host:gone")
    assert gone.returncode == 13 and "pi-1: the builder gone: " in gone.stderr, gone.stdout + gone.stderr
    assert "Traceback" not in gone.stderr
