"""Modules for texts, files, repositories and web services: the same under tvmops and a real ansible-playbook."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_ansible_twin import ansible_playbook, tree, with_ansible, with_tvmops

from tvmops.fleet.recap import COUNTS

__all__ = ["ansible_playbook"]


class Service(BaseHTTPRequestHandler):
    """Answers by path; /echo tells what was asked."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, data = self.content(self.path, body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def content(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        about = {"method": self.command, "headers": dict(self.headers.items()), "body": body.decode()}
        if path.startswith("/redirect/"):
            return int(path.rsplit("/", 1)[1]), {"Location": "/echo"}, b""
        if path == "/private":
            if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:s3cret").decode():
                return 200, {}, b"welcome"
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b"no"
        if path == "/file.txt" and self.headers.get("If-Modified-Since"):
            return 304, {}, b""
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {
            "/": (200, {"Set-Cookie": "a=1; Path=/"}, b"hello\n"),
            "/echo": (200, {"Content-Type": "application/json"}, json.dumps(about).encode()),
            "/file.txt": (200, {}, b"content\n"),
            "/gzip": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"unpacked", mtime=0)),
            "/teapot": (418, {"Content-Type": "application/json"}, b'{"why": "short"}'),
        }
        return answers.get(path, (404, {}, b"nothing here"))

    do_GET = do_POST = do_PUT = answer  # noqa: N815  (http.server's names)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["editing", "git", "uri"])
def test_same_recap_and_files(
    name: str, ansible_playbook: Path, service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [tmp_path / "ansible" / "root", tmp_path / "tvmops" / "root"]
    for root in roots:
        root.mkdir(parents=True)
    given = {"service": service}
    expected, rc, output = with_ansible(ansible_playbook, f"{name}.yml", roots[0], ["-e", json.dumps(given)])
    numbers, code = with_tvmops(f"{name}.yml", roots[1], monkeypatch, tmp_path / "state", {"extra_vars": given})
    assert (roots[0] / "results").exists(), output
    assert tree(roots[1]) == tree(roots[0])
    assert {count: numbers[count] for count in COUNTS} == {count: expected[count] for count in COUNTS}, output
    assert code == rc == 0
