"""get_url and wait_for against real servers on the loopback interface, good and bad ones."""

from __future__ import annotations

import base64
import hashlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

DATA = b"payload " * 50_000
MODIFIED = 1_600_000_000


class Handler(BaseHTTPRequestHandler):
    """Behaves by path."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers)))
        if self.path == "/hang":
            time.sleep(5)
        elif self.path == "/gone":
            self.send_error(404, "Not Here")
        elif self.path == "/overloaded" or (self.path == "/busy" and len(self.seen) < 3):
            self.send_error(503, "Busy")
        elif self.path == "/redirect":
            port = self.connection.getsockname()[1]
            self._head(302, {"Location": f"http://localhost:{port}/data", "Content-Length": "0"})
        elif self.path == "/stall":
            self._head(200, {"Content-Length": str(len(DATA))})
            self.wfile.write(DATA[:1000])
            self.wfile.flush()
            time.sleep(5)
        elif self.path == "/short":
            self._head(200, {"Content-Length": str(len(DATA)), "Connection": "close"})
            self.wfile.write(DATA[:1000])
            self.close_connection = True
        elif self.path == "/chunked":
            self._head(200, {"Transfer-Encoding": "chunked"})
            for start in range(0, len(DATA), 100_000):
                piece = DATA[start : start + 100_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif self.headers.get("If-Modified-Since"):
            self._head(304, {})
        else:
            self._head(200, {"Content-Length": str(len(DATA)), "Last-Modified": formatdate(MODIFIED, usegmt=True)})
            self.wfile.write(DATA)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Handler.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(board: Driver, url: str, dest: Path | str, **more: Any) -> dict[str, Any]:
    check = more.pop("check", False)
    return board.task("get_url", {"url": url, "dest": str(dest), "timeout": 1, **more}, check=check)


def test_downloads_once_and_trusts_what_is_there(board: Driver, tmp_path: Path, url: str) -> None:
    dest = tmp_path / "f"
    assert get(board, f"{url}/data", dest, check=True)["changed"]
    assert not dest.exists()
    result = get(board, f"{url}/data", dest, mode="0640")
    assert (result["changed"], result["status_code"], result["mode"]) == (True, 200, "0640")
    assert dest.read_bytes() == DATA
    assert not get(board, f"{url}/data", dest)["changed"]
    assert len(Handler.seen) == 1, "an existing file is not asked for again"
    assert get(board, f"{url}/data", dest, mode="0600")["changed"]
    assert len(Handler.seen) == 1


def test_a_busy_server_is_asked_again_and_not_for_ever(board: Driver, tmp_path: Path, url: str) -> None:
    assert get(board, f"{url}/busy", tmp_path / "f")["changed"]
    assert (tmp_path / "f").read_bytes() == DATA
    Handler.seen.clear()
    assert "the server answered 503 Busy" in get(board, f"{url}/overloaded", tmp_path / "g")["msg"]
    assert len(Handler.seen) == 3


def test_checksum_decides(board: Driver, tmp_path: Path, url: str) -> None:
    dest = tmp_path / "f"
    dest.write_text("old")
    right = "sha256:" + hashlib.sha256(DATA).hexdigest()
    wrong = get(board, f"{url}/data", dest, checksum="sha256:" + "0" * 64)
    assert "has the checksum sha256:" in wrong["msg"]
    assert dest.read_text() == "old"
    assert get(board, f"{url}/data", dest, checksum=right, backup=True)["changed"]
    asked = len(Handler.seen)
    assert not get(board, f"{url}/data", dest, checksum=right)["changed"]
    assert len(Handler.seen) == asked
    assert "from a URL is not supported" in get(board, url, dest, checksum=f"sha256:{url}/sums")["msg"]
    assert "hexadecimal" in get(board, url, dest, checksum="sha256:abc")["msg"]
    assert sorted(path.name.split(".")[0] for path in tmp_path.iterdir()) == ["f", "f"], "the file and its backup"


def test_force_changes_only_when_the_content_differs(board: Driver, tmp_path: Path, url: str) -> None:
    dest = tmp_path / "f"
    assert get(board, f"{url}/chunked", dest, force=True)["changed"]
    assert not get(board, f"{url}/data", dest, force=True)["changed"]
    dest.write_text("x")
    assert get(board, f"{url}/data", dest, force=True)["changed"]


def test_into_a_directory_with_a_conditional_request(board: Driver, tmp_path: Path, url: str) -> None:
    assert get(board, f"{url}/name.tar?x=1", f"{tmp_path}/")["dest"] == f"{tmp_path}/name.tar"
    again = get(board, f"{url}/name.tar?x=1", tmp_path)
    assert (again["changed"], again["msg"]) == (False, "not modified")
    assert "If-Modified-Since" in Handler.seen[-1][1]


def test_headers_and_password_do_not_reach_another_server(board: Driver, tmp_path: Path, url: str) -> None:
    result = get(board, f"{url}/redirect", tmp_path / "f", url_username="u", url_password="p", headers={"X-A": "1"})
    assert result["changed"]
    (_, first), (_, second) = Handler.seen
    assert first["Authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
    assert "Authorization" not in second
    assert second["X-A"] == "1"
    with_password = get(board, url.replace("//", "//user:hunter2@") + "/gone", tmp_path / "g")
    assert "hunter2" not in str(with_password["msg"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/hang", "did not answer within 1 seconds|sent nothing for 1 seconds"),
        ("/stall", "sent nothing for 1 seconds"),
        ("/short", "broke off after 1000 of|IncompleteRead"),
        ("/gone", "answered 404 Not Here"),
    ],
)
def test_bad_servers_fail_in_time_and_leave_nothing(
    board: Driver, tmp_path: Path, url: str, path: str, message: str
) -> None:
    import re

    started = time.monotonic()
    result = get(board, url + path, tmp_path / "f")
    assert time.monotonic() - started < 15
    assert result["failed"]
    assert re.search(message, result["msg"]), result["msg"]
    assert "exception" not in result
    assert list(tmp_path.iterdir()) == []


def test_no_server_and_unknown_schemes(board: Driver, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "Connection refused" in get(board, f"http://127.0.0.1:{port}/x", tmp_path / "f")["msg"]
    assert "only http, https and file" in get(board, "ftp://x/y", tmp_path / "f")["msg"]
    assert "cannot download" in get(board, "file:///no/such/file", tmp_path / "f")["msg"]


def wait(board: Driver, **args: Any) -> dict[str, Any]:
    return board.task("wait_for", {"timeout": 1, "sleep": 0.05, **args})


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], int]]:
    servers: list[socketserver.TCPServer] = []

    def start(greeting: bytes) -> int:
        class Greeter(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(greeting)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeter)
        servers.append(server)
        threading.Thread(target=server.serve_forever).start()
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_waits_for_a_port_and_what_it_says(board: Driver, serve: Callable[[bytes], int]) -> None:
    port = serve(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert not wait(board, port=port)["changed"]
    found = wait(board, port=port, search_regex=r"OpenSSH_(?P<version>[\d.]+)")
    assert (found["match_groups"], found["match_groupdict"]) == (["9.2"], {"version": "9.2"})
    missing = wait(board, port=port, search_regex="Dropbear", timeout=0.3)
    assert "Dropbear" in missing["msg"]
    assert "to be stopped" in wait(board, port=port, state="stopped", timeout=0.2)["msg"]


def test_waits_for_a_port_to_close_and_files_to_come_and_go(board: Driver, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert not wait(board, port=port, state="stopped")["failed"]
    assert wait(board, port=port, timeout=0.2, msg="no RPC server")["msg"] == "no RPC server"
    path = tmp_path / "f"
    timer = threading.Timer(0.4, lambda: path.write_text("state: ready\n"))
    timer.start()
    assert not wait(board, path=str(path), search_regex="^state: (ready)$", timeout=10)["failed"]
    threading.Timer(0.3, path.unlink).start()
    assert not wait(board, path=str(path), state="absent", timeout=10)["failed"]
    assert wait(board, path=str(path), timeout=0.2)["failed"]
