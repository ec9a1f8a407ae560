"""Small trees that look like TVM's, and git repositories of them with submodules, for tests of sources."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvmops.stack.spec import Stack

TREE: dict[str, str] = {
    "CMakeLists.txt": 'cmake_minimum_required(VERSION 3.18)\nproject(tvm C CXX)\nset(D "3rdparty/dlpack/include")\n',
    "cmake/config.cmake": "set(USE_RPC ON)\n",
    "include/tvm/ir/expr.h": "// expr\n",
    "include/tvm/runtime/metadata.h": "// metadata\n",
    "src/runtime/c_runtime_api.cc": "// runtime\n",
    "src/run.sh": "#!/bin/sh\n",
    "docs/index.rst": "no build reads this\n",
}
DLPACK = {"include/dlpack/dlpack.h": "// dlpack\n"}
CUTLASS = {"include/cutlass/cutlass.h": "// cutlass\n", "test/unit/big.cu": "// left out\n"}
INNER = {"include/inner.h": "// inner\n"}


def write_tree(folder: Path, files: Mapping[str, str] = TREE) -> Path:
    """`files` in `folder`; those that end in .sh are executable."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith(".sh"):
            path.chmod(0o755)
    return folder


def whole_tree(folder: Path) -> Path:
    """A tree as a release archive has it, submodules included."""
    write_tree(folder)
    write_tree(folder / "3rdparty/dlpack", DLPACK)
    write_tree(folder / "3rdparty/cutlass", CUTLASS)
    write_tree(folder / "3rdparty/dlpack/3rdparty/inner", INNER)
    return folder


def stack_with(folder: Path, **sources: Mapping[str, Any]) -> Stack:
    """A stack with these sources, whose file would be in `folder`."""
    return Stack(
        name="tiny",
        api="relay",
        version="1.0",
        python_min="3.8",
        python_below="3.14",
        architectures=("x86_64",),
        glibc="2.27",
        path=str(folder / "tiny.yml"),
        tag="v1.0",
        sources={name: dict(source) for name, source in sources.items()},
    )


def git(folder: Path, *arguments: str) -> str:
    """git's output, with nothing of this machine's configuration."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_AUTHOR_NAME": "T",
        "GIT_AUTHOR_EMAIL": "t@example.com",
        "GIT_COMMITTER_NAME": "T",
        "GIT_COMMITTER_EMAIL": "t@example.com",
    }
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make_repository(folder: Path, files: Mapping[str, str]) -> str:
    """A repository with one commit of `files`; returns the commit."""
    write_tree(folder, files)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return commit(folder)


def commit(folder: Path) -> str:
    """Everything in `folder` committed; returns the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=work")
    return git(folder, "rev-parse", "HEAD")


@dataclass(frozen=True)
class Repositories:
    """tvm with the submodules dlpack (which has a submodule of its own) and cutlass, under one folder.

    `commit` is tag v1.0, and a branch of the same name is another commit. .gitmodules names `base`, which is not there.
    """

    folder: Path
    commit: str
    branch_commit: str
    base: str

    def source(self, url: str, **changes: Any) -> dict[str, Any]:
        """A git source of a stack, fetched from `url`."""
        return {"kind": "git", "url": url, "ref": "refs/tags/v1.0", "commit": self.commit, **changes}


def make_repositories(folder: Path, ballast: int = 0) -> Repositories:
    """The repositories; `ballast` bytes that do not compress are added to cutlass."""
    base = "https://git.invalid/"
    folder.mkdir()
    make_repository(folder / "inner", INNER)
    make_repository(folder / "dlpack", DLPACK)
    _submodule(folder / "dlpack", folder / "inner", "3rdparty/inner", f"{base}inner")
    commit(folder / "dlpack")
    make_repository(folder / "cutlass", CUTLASS)
    if ballast:
        (folder / "cutlass" / "ballast.bin").write_bytes(os.urandom(ballast))
        commit(folder / "cutlass")
    make_repository(folder / "tvm", TREE)
    _submodule(folder / "tvm", folder / "dlpack", "3rdparty/dlpack", f"{base}dlpack")
    _submodule(folder / "tvm", folder / "cutlass", "3rdparty/cutlass", f"{base}cutlass")
    tagged = commit(folder / "tvm")
    local = f"url.{folder}/.insteadOf={base}"
    git(folder / "tvm", "-c", local, "submodule", "--quiet", "update", "--init", "--recursive")
    git(folder / "tvm", "tag", "--annotate", "--message=release", "v1.0")
    git(folder / "tvm", "checkout", "--quiet", "-b", "v1.0")
    (folder / "tvm" / "later.txt").write_text("the branch goes on\n")
    branch = commit(folder / "tvm")
    return Repositories(folder, tagged, branch, base)


def _submodule(folder: Path, other: Path, path: str, url: str) -> None:
    git(folder, "submodule", "--quiet", "add", str(other), path)
    git(folder, "submodule", "--quiet", "set-url", path, url)


class Daemon:
    """git's own server for all repositories of a folder, behind a door that can be shut in the middle of a transfer."""

    def __init__(self, folder: Path, passes: int | None = None) -> None:
        """`passes`: after so many bytes to the client the server is killed, and the door closed."""
        self.passes = passes
        self.sent = 0
        self.killed = threading.Event()
        port = _free_port()
        self.process = subprocess.Popen(
            # The program itself: `git daemon` would stay behind as its parent when it is killed.
            [str(_exec_path() / "git-daemon"), "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}",
             f"--base-path={folder}", str(folder)],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        _wait_for(port)
        self.behind = port
        self.door = socket.create_server(("127.0.0.1", 0))
        self.url = f"git://127.0.0.1:{self.door.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.door.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.behind))
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(16384):
                if counted and self.passes is not None:
                    self.sent += len(data)
                    if self.sent > self.passes:
                        self.stop()
                        break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def stop(self) -> None:
        """Kill the server, and take no more connections."""
        if not self.killed.is_set():
            self.killed.set()
            self.door.close()
            self.process.kill()
            self.process.wait()


def _exec_path() -> Path:
    return Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int, deadline: float = 20.0) -> None:
    give_up = time.monotonic() + deadline
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
