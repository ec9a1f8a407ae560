"""The module uri, against a real server in this process."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


class Service(BaseHTTPRequestHandler):
    """Answers by path; /echo tells what was asked."""

    def answer(self) -> None:
        path = self.path.split("?")[0]
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, data = self.by_path(path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def by_path(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/echo":
            about = {"method": self.command, "headers": dict(self.headers.items()), "body": self.body.decode("latin-1")}
            return 200, {"Content-Type": "application/vnd.x+json"}, json.dumps(about).encode()
        if path.startswith("/redirect/"):
            return int(path.rsplit("/", 1)[1]), {"Location": "/echo"}, b""
        if path.startswith("/away/"):
            return 302, {"Location": f"http://localhost:{path.rsplit('/', 1)[1]}/echo"}, b""
        if path == "/loop":
            return 302, {"Location": "/loop"}, b""
        if path == "/private":
            good = "Basic " + base64.b64encode(b"me:s3cret").decode()
            if self.headers.get("Authorization") == good:
                return 200, {}, b"welcome"
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b"no"
        if path == "/file.txt":
            if self.headers.get("If-Modified-Since"):
                return 304, {}, b""
            return 200, {"Last-Modified": MODIFIED}, b"content\n"
        return self.content(path)

    def content(self, path: str) -> tuple[int, dict[str, str], bytes]:
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {
            "/": (200, {"Set-Cookie": "a=1; Path=/"}, b"hello\n"),
            "/broken.json": (200, {"Content-Type": "application/json"}, b"{"),
            "/gzip": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"unpacked")),
            "/badzip": (200, {"Content-Encoding": "gzip"}, b"no gzip"),
            "/binary": (200, {}, b"\xff\xfe\x00"),
            "/teapot": (418, {"Content-Type": "application/json"}, b'{"why": "short"}'),
            "/short": (200, {"Content-Length": "100"}, b"only this"),
        }
        return answers.get(path, (404, {}, b"nothing here"))

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815  (http.server's names)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def uri(board: Driver) -> Any:
    def ask(url: str, check: bool = False, **args: Any) -> dict[str, Any]:
        result = board.task("uri", {"url": url, **args}, check=check)
        assert "exception" not in result, result
        return result

    return ask


def test_the_head_of_an_answer(uri: Any, url: str) -> None:
    result = uri(url + "/")
    assert (result["status"], result["url"], result["redirected"]) == (200, url + "/", False)
    assert (result["content_length"], result["cookies"], result["cookies_string"]) == ("6", {"a": "1"}, "a=1")
    assert (result["changed"], result["failed"], result["msg"]) == (False, False, "OK (6 bytes)")
    assert "content" not in result
    assert uri(url + "/", method="head", return_content=True)["content"] == ""


def test_content(uri: Any, url: str) -> None:
    assert uri(url + "/", return_content=True)["content"] == "hello\n"
    assert uri(url + "/gzip", return_content=True)["content"] == "unpacked"
    assert uri(url + "/binary", return_content=True)["content"] == "\ufffd\ufffd\0"
    assert "cannot be unpacked" in uri(url + "/badzip", return_content=True)["msg"]
    assert "json" not in uri(url + "/broken.json")
    assert uri(url + "/teapot", status_code=[200, 418])["json"] == {"why": "short"}


def test_a_status_that_is_not_expected(uri: Any, url: str) -> None:
    result = uri(url + "/nowhere")
    assert result["failed"]
    assert (result["status"], result["content"]) == (404, "nothing here")
    assert f"{url}/nowhere answered with status 404, not 200" in result["msg"]
    assert not uri(url + "/nowhere", status_code="200,404")["failed"]
    assert uri(url + "/", status_code=[201, 204])["failed"]
    assert uri(url + "/teapot")["json"] == {"why": "short"}


def test_bodies(uri: Any, url: str, tmp_path: Path) -> None:
    def sent(**args: Any) -> tuple[str, str]:
        echoed = uri(url + "/echo", method="POST", **args)["json"]
        return echoed["body"], echoed["headers"]["Content-Type"]

    assert sent(body={"a": [1]}, body_format="json") == ('{"a": [1]}', "application/json")
    assert sent(body='{"a": 1}', body_format="json") == ('{"a": 1}', "application/json")
    form = "application/x-www-form-urlencoded"
    assert sent(body={"a": "x y", "b": [1, 2]}, body_format="form-urlencoded") == ("a=x+y&b=1&b=2", form)
    assert sent(body=[["a", "1"], ["a", "2"]], body_format="form-urlencoded") == ("a=1&a=2", form)
    assert sent(body="a=%20", body_format="form-urlencoded") == ("a=%20", form)
    assert sent(body="text", headers={"Content-Type": "text/plain"}) == ("text", "text/plain")
    (tmp_path / "f").write_text("from a file")
    assert sent(src=str(tmp_path / "f"), remote_src=True)[0] == "from a file"
    assert "body_format" in uri(url + "/echo", method="POST", body={"a": 1})["msg"]
    assert "list of pairs" in uri(url + "/echo", method="POST", body=[1], body_format="form-urlencoded")["msg"]
    assert "not a file" in uri(url + "/echo", method="POST", src="/nowhere", remote_src=True)["msg"]


def test_a_file_of_the_controller_is_sent(board: Driver, url: str) -> None:
    args = {"url": url + "/echo", "method": "PUT", "src": "x", "_blob": board.blob(b"blob")}
    assert board.task("uri", args)["json"]["body"] == "blob"


def test_a_form_with_files(uri: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "f.bin").write_bytes(b"\x00\xff")
    body = {
        "plain": "text",
        "given": {"content": "more", "filename": 'q".txt', "mime_type": "text/x"},
        "file": {"filename": str(tmp_path / "f.bin")},
    }
    args = {"method": "POST", "body_format": "form-multipart", "body": body}
    echoed = uri(url + "/echo", remote_src=True, **args)["json"]
    boundary = echoed["headers"]["Content-Type"].split("boundary=")[1]
    parts = echoed["body"].split("--" + boundary)[1:-1]
    assert [part.split("\r\n\r\n", 1)[1] for part in parts] == ["text\r\n", "more\r\n", "\x00\u00ff\r\n"]
    assert 'name="given"; filename="q\\".txt"\r\nContent-Type: text/x' in parts[1]
    assert "application/octet-stream" in parts[2]
    assert "remote_src" in uri(url + "/echo", **args)["msg"]


# (follow_redirects, method) -> the method of the request that follows each status.
FOLLOWED: dict[tuple[str, str], dict[int, str]] = {
    ("safe", "GET"): dict.fromkeys([301, 302, 303, 307, 308], "GET"),
    ("safe", "POST"): {},
    ("all", "POST"): {301: "GET", 302: "GET", 303: "GET", 307: "POST", 308: "POST"},
    ("none", "GET"): {},
    ("no", "GET"): {},
    ("urllib2", "POST"): {301: "GET", 302: "GET", 303: "GET"},
}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("case", FOLLOWED)
def test_redirections(uri: Any, url: str, code: int, case: tuple[str, str]) -> None:
    follow, method = case
    wanted = FOLLOWED[case].get(code)
    args = {"body": "x"} if method == "POST" else {}
    status = code if wanted is None else 200
    result = uri(f"{url}/redirect/{code}", follow_redirects=follow, method=method, status_code=status, **args)
    assert not result["failed"], result
    assert result["redirected"] == (wanted is not None)
    if wanted is not None:
        assert (result["json"]["method"], result["json"]["body"]) == (wanted, "x" if wanted == "POST" else "")


def test_secrets_stay_with_the_server_they_are_for(uri: Any, url: str) -> None:
    headers = {"X-Token": "t", "Authorization": "Bearer b", "X-Plain": "p"}
    kept = uri(url + "/redirect/302", headers=headers, unredirected_headers=["x-token"])["json"]["headers"]
    assert kept["Authorization"] == "Bearer b"
    assert "X-Token" not in kept
    away = uri(f"{url}/away/{url.rsplit(':', 1)[1]}", headers=headers)["json"]["headers"]
    assert "Authorization" not in away
    assert away["X-Plain"] == "p"


def test_credentials(uri: Any, url: str, tmp_path: Path, board: Driver) -> None:
    address = url + "/private"
    for args in ({"user": "me", "password": "s3cret"}, {"url_username": "me", "url_password": "s3cret"}):
        for force in (True, False):
            assert uri(address, return_content=True, force_basic_auth=force, **args)["content"] == "welcome"
    inside = uri(address.replace("//", "//me:s3cret@"))
    assert (inside["failed"], inside["redirected"], inside["url"]) == (False, False, address)
    wrong = uri(address.replace("//", "//me:wr0ng@"))
    assert (wrong["failed"], wrong["status"]) == (True, 401)
    assert "wr0ng" not in str(wrong)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    task = {"module": "uri", "args": {"url": address}, "environment": {"HOME": str(tmp_path)}}
    assert not board.batch([task])[0]["failed"]
    task["args"] = {"url": address, "use_netrc": False}
    assert board.batch([task])[0]["failed"]


def test_content_into_a_file(uri: Any, url: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    result = uri(url + "/file.txt", dest=str(path), mode="0600")
    assert (result["changed"], result["path"], result["size"], result["mode"]) == (True, str(path), 8, "0600")
    assert path.read_text() == "content\n"
    assert uri(url + "/file.txt", dest=str(path))["status"] == 304
    again = uri(url + "/file.txt", dest=str(path), status_code=[200, 304])
    assert (again["failed"], again["changed"], again["path"]) == (False, False, str(path))
    assert not uri(url + "/file.txt", dest=str(path), force=True)["changed"]
    assert uri(url + "/file.txt", dest=str(path), force=True, mode="0644")["changed"]
    assert uri(url + "/gzip", dest=str(path), return_content=True)["content"] == "unpacked"
    assert path.read_text() == "unpacked"
    (tmp_path / "d").mkdir()
    assert uri(url + "/file.txt", dest=str(tmp_path / "d"))["path"] == str(tmp_path / "d/file.txt")
    assert uri(url + "/nowhere", dest=str(tmp_path / "none"))["failed"]
    assert "does not exist" in uri(url + "/", dest=str(tmp_path / "no/such"))["msg"]
    assert "broke off" in uri(url + "/short", dest=str(tmp_path / "none"))["msg"]
    assert sorted(one.name for one in tmp_path.iterdir() if one.name != "tvmops-state") == ["d", "out"]


def test_check_mode_and_conditions(uri: Any, url: str, tmp_path: Path) -> None:
    assert uri(url + "/", check=True)["skipped"]
    for args in ({"creates": "/etc/pass*"}, {"removes": str(tmp_path / "none")}):
        result = uri("http://127.0.0.1:1/", **args)
        assert (result["failed"], result["changed"]) == (False, False)
        assert result["stdout"].startswith("skipped, since")


def test_no_answer(uri: Any, url: str) -> None:
    for address, words in [
        ("http://127.0.0.1:1/x", "no answer from http://127.0.0.1:1/x"),
        ("http://me:s3cret@127.0.0.1:1/x", "no answer from http://127.0.0.1:1/x"),
        ("nonsense", "is no address"),
        ("ftp://127.0.0.1/", "is no address"),
        ("http://[x/", "is no address"),
        ("http://127.0.0.1:port/", "is no address"),
        (url + "/loop", "status 302"),
    ]:
        result = uri(address)
        assert result["failed"]
        assert words in result["msg"]
        assert "s3cret" not in str(result)
    assert not uri("http://127.0.0.1:1/x", status_code=[-1])["failed"]
    silent = socket.create_server(("127.0.0.1", 0))
    result = uri(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.3)
    assert "did not answer within 0.3 seconds" in result["msg"]
    silent.close()


def test_a_unix_socket(uri: Any, tmp_path: Path) -> None:
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            return super().get_request()[0], ("unix", 0)

    path = str(tmp_path / "s")
    with Server(path, Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert uri("http://localhost/", unix_socket=path, return_content=True)["content"] == "hello\n"
        server.shutdown()


def test_certificates(uri: Any, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    argv = ["openssl", *words.split(), "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(argv, check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"https://localhost:{server.server_port}/"
    assert "certificate" in uri(address)["msg"].lower()
    assert not uri(address, validate_certs=False)["failed"]
    assert not uri(address, ca_path=str(certificate), ciphers=["ECDHE+AESGCM"])["failed"]
    assert "certificates or ciphers" in uri(address, ca_path="/nowhere")["msg"]
    server.shutdown()
    server.server_close()
