"""Archives over HTTP: servers that break off, lie, or send something else; and the command that fetches sources."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from source_trees import stack_with, whole_tree

from tvmops.digests import file_sha256
from tvmops.errors import StackError
from tvmops.paths import project_root
from tvmops.stack.sources import download, fetch_source


@dataclass
class Server:
    """Gives `data` whatever is asked; `breaks`: after how many bytes each answer breaks off; `ranges`: resumes."""

    data: bytes = b""
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    code: int = 200
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    about = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range") or ""
            about.asked.append(asked)
            if about.code != 200:
                self.send_error(about.code)
                return
            start = int(re.findall(r"\d+", asked)[0]) if asked and about.ranges else 0
            if start >= len(about.data) and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(about.data)}")
                self.end_headers()
                return
            rest = about.data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(about.data) - 1}/{len(about.data)}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: about.breaks.pop(0)] if about.breaks else rest)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        about.url = f"http://127.0.0.1:{listening.server_port}/tvm-1.0.tar.gz"
        yield about
        listening.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.02)
    return tmp_path / "cache" / "sources"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = whole_tree(tmp_path / "tvm")
    (folder / "src" / "noise.bin").write_bytes(os.urandom(300_000))
    path = tmp_path / "made.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "tvm-1.0")
    return path


def pinned(tmp_path: Path, server: Server, archive: Path, **changes: Any) -> Any:
    source = {"kind": "archive", "url": server.url, "sha256": file_sha256(archive), "strip": 1, **changes}
    return stack_with(tmp_path, release=source)


def test_a_download_that_breaks_is_resumed(tmp_path: Path, server: Server, archive: Path, cache: Path) -> None:
    server.data = archive.read_bytes()
    server.breaks = [100_000, 0, 50_000]
    told: list[str] = []
    tree = fetch_source(pinned(tmp_path, server, archive), None, told.append)
    assert server.asked == ["", "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert sum("trying again" in line for line in told) == 3
    assert tree.identity == fetch_source(stack_with(tmp_path), str(tmp_path / "tvm")).identity
    # Kept: the server is not asked again, with another stack of the same pin neither.
    fetch_source(pinned(tmp_path, server, archive, url="http://127.0.0.1:1/other.tar.gz"))
    assert len(server.asked) == 4


def test_the_next_run_goes_on_where_the_last_one_stopped(
    tmp_path: Path, server: Server, archive: Path, cache: Path
) -> None:
    server.data = archive.read_bytes()
    server.breaks = [120_000] + [0] * 20
    with pytest.raises(StackError, match="cannot be fetched") as raised:
        fetch_source(pinned(tmp_path, server, archive))
    assert "what has come (0.1 MB) is kept" in raised.value.hint
    server.breaks, server.asked = [], []
    tree = fetch_source(pinned(tmp_path, server, archive))
    assert server.asked == ["bytes=120000-"]
    assert (tree.folder / "src/noise.bin").stat().st_size == 300_000


def test_a_server_that_cannot_resume_sends_all_of_it_again(tmp_path: Path, server: Server, archive: Path) -> None:
    server.data, server.ranges, server.breaks = archive.read_bytes(), False, [200_000]
    fetch_source(pinned(tmp_path, server, archive))
    assert server.asked == ["", "bytes=200000-"]


def test_a_rest_of_another_file_is_thrown_away(tmp_path: Path, server: Server, archive: Path, cache: Path) -> None:
    server.data = archive.read_bytes()
    stack = pinned(tmp_path, server, archive)
    part = cache / "downloads" / f"{stack.sources['release']['sha256'][:16]}-tvm-1.0.tar.gz.part"
    for size in (1000, len(server.data), len(server.data) + 10):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"x" * size)
        fetch_source(stack)
        assert not part.exists()
        for made in (cache / "requests", part.parent):
            for path in made.iterdir():
                path.unlink()


def test_another_file_than_pinned(tmp_path: Path, server: Server, archive: Path, cache: Path) -> None:
    server.data = b"<html>captive portal</html>"
    stack = pinned(tmp_path, server, archive)
    with pytest.raises(StackError) as raised:
        fetch_source(stack)
    assert f"not {stack.sources['release']['sha256']}" in raised.value.message
    assert server.url in raised.value.message
    assert list((cache / "downloads").iterdir()) == []


@pytest.mark.parametrize(("code", "times"), [(404, 1), (503, 5)])
def test_a_server_that_refuses(tmp_path: Path, server: Server, archive: Path, code: int, times: int) -> None:
    server.code = code
    with pytest.raises(StackError, match=f"the server says {code}"):
        fetch_source(pinned(tmp_path, server, archive))
    assert len(server.asked) == times


def test_a_silent_server(tmp_path: Path, server: Server, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(download, "READ_DEADLINE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/tvm.tar.gz"
        with pytest.raises(StackError, match="timed out"):
            fetch_source(pinned(tmp_path, server, archive, url=url))


def test_a_mirror_and_a_full_disk(
    tmp_path: Path, server: Server, archive: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.data = archive.read_bytes()
    stack = pinned(tmp_path, server, archive, url="https://archive.invalid/dist/tvm-1.0.tar.gz")
    mirrors = {"https://archive.invalid/dist/": server.url.rpartition("/")[0] + "/"}
    import resource

    # The largest file that may be written: as a full disk, in the middle of unpacking.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = tmp_path / "downloaded"
    big.write_bytes(server.data)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, hard))
    try:
        with pytest.raises(StackError, match="failed: ") as raised:
            fetch_source(stack, str(big))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "nothing half was left" in raised.value.hint
    assert [path for path in cache.iterdir() if path.is_dir() and path.name != "requests"] == []
    assert fetch_source(stack, mirrors=mirrors).files > 5


def test_the_command(tmp_path: Path, server: Server, archive: Path) -> None:
    server.data = archive.read_bytes()
    digest = file_sha256(archive)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tvmops", "stack.source", "--stack", "relay-0.19", *options]
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=project_root(), timeout=120)

    refused = run("--source", server.url)
    assert refused.returncode == 5
    assert "--sha256 HEX" in refused.stderr
    done = run("--source", server.url, "--sha256", digest, "--json")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert about["kind"] == "archive" and about["complete"] and about["packed"] > 300_000
    assert Path(about["archive"]).is_file()
    shown = run("--source", server.url, "--sha256", digest)
    assert about["identity"] in shown.stdout
    assert "builds the compiler and the runtime" in shown.stdout
    assert shown.stderr == ""
    wrong = run("--source", str(archive), "--sha256", "0" * 64)
    assert wrong.returncode == 13
    assert "Traceback" not in wrong.stderr
