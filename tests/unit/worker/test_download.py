"""Models by URL, from a real HTTP server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tvmops.worker.failures import JobError
from tvmops.worker.models.download import placed_file

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path; /missing is missing, /other has other content; `cut` breaks answers off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.cut = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if "missing" in self.path:
            self.send_error(404)
            return
        content = b"<html>" if "other" in self.path else CONTENT
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        content = content[begin:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.cut] if self.server.cut else content)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.05,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def fetched(place: dict[str, Any], cache: Path) -> Path:
    return placed_file(place, cache, "the model")


def refusal(place: dict[str, Any], cache: Path) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        fetched(place, cache)
    return caught.value.kind, caught.value.message


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    place = {"url": server.url("some/net%201.onnx?raw=true"), "sha256": SHA256}
    first = fetched(place, tmp_path)
    assert first.name == "net 1.onnx"
    assert first.read_bytes() == CONTENT
    assert fetched(place, tmp_path) == first
    assert len(server.asked) == 1
    first.write_bytes(b"damaged")
    assert fetched(place, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_the_mirror_is_asked_first_and_the_origin_after_it(server: Server, tmp_path: Path) -> None:
    place = {"url": server.url("missing/net"), "sha256": SHA256, "mirror": server.url("mirror/")}
    assert fetched(place, tmp_path).read_bytes() == CONTENT
    place = {"url": server.url("net"), "sha256": SHA256, "mirror": server.url("missing")}
    assert fetched(place, tmp_path / "second").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/mirror/net", "/missing", "/net"]


def test_what_was_cut_off_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    place = {"url": server.url("net"), "sha256": SHA256}
    server.cut = 1000
    kind, message = refusal(place, tmp_path)
    assert kind == "Download"
    assert "1000 of 10240 bytes" in message
    server.cut = 0
    assert fetched(place, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("/net", "bytes=1000-")
    assert [path.name for path in (tmp_path / "models" / SHA256).iterdir() if path.name != ".lock"] == ["net"]


def test_wrong_content_is_never_used(server: Server, tmp_path: Path) -> None:
    place = {"url": server.url("other"), "sha256": SHA256}
    kind, message = refusal(place, tmp_path)
    assert kind == "Download"
    assert "6 bytes with sha256" in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert "HTTP status 404" in refusal({"url": server.url("missing"), "sha256": SHA256}, tmp_path)[1]
    gone = {"url": "http://127.0.0.1:1/net", "sha256": SHA256}
    assert "refused" in refusal(gone, tmp_path)[1]


def test_places_that_say_too_little_or_too_much(tmp_path: Path) -> None:
    file = tmp_path / "net"
    file.write_bytes(CONTENT)
    assert fetched({"url": file.as_uri(), "sha256": SHA256}, tmp_path / "cache").read_bytes() == CONTENT
    assert fetched({"path": str(file), "sha256": SHA256}, tmp_path) == file
    for place, words in [
        ({}, "needs either 'path' or 'url'"),
        ({"path": str(file), "url": "http://x/y"}, "needs either 'path' or 'url'"),
        ({"url": "http://x/y"}, "needs the file's 'sha256'"),
        ({"url": "ftp://x/y", "sha256": SHA256}, "only https, http, file"),
        ({"path": "net"}, "must be absolute"),
        ({"path": str(tmp_path / "none")}, "no such file"),
        ({"path": str(file), "sha256": "0" * 64}, "the workload says 000"),
    ]:
        kind, message = refusal(place, tmp_path)
        assert (kind, words in message) == ("BadInput", True), message
