"""Which mirror is taken, and which Python index can be trusted."""

from __future__ import annotations

import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mirror_world import World, debian, probe

QUESTION = {
    "what": "w", "archive": "debian", "release": "bookworm", "architecture": "armhf", "component": "main",
    "suites": ["bookworm", "bookworm-updates"], "security_suite": "bookworm-security", "security_beside": False,
    "security_mirror": "", "measure": True, "again": False, "sites": {}, "files": [],
}  # fmt: skip


def problem(world: World, candidate: Any = "http://m/debian", **changes: Any) -> str:
    report = probe.apt_mirrors.survey({**QUESTION, **changes, "candidates": [candidate]}, world)[0]
    return str(report["problem"])


def test_a_cache_that_sends_a_part_is_asked_again() -> None:
    """As it may while it fetches the file anew for another board."""
    world = World().has("http://m/debian", debian("bookworm"), "armhf")
    world.first["http://m/debian/dists/bookworm/InRelease"] = b""
    assert problem(world) == ""
    assert not world.first


def test_what_makes_a_mirror_unusable() -> None:
    good = World().has("http://m/debian", debian("bookworm"), "armhf")
    assert problem(good) == ""
    assert "bookworm/InRelease: 404" in problem(World())
    other = World().has("http://m/debian", {"bookworm": ("trixie", "stable")}, "armhf")
    assert problem(other) == "http://m/debian/dists/bookworm/InRelease is of trixie (stable), not of bookworm"
    portal = World()
    portal.files["http://m/debian/dists/bookworm/InRelease"] = b"<html>please log in</html>"
    assert problem(portal) == "http://m/debian/dists/bookworm/InRelease is not an InRelease file"
    x86 = World().has("http://m/debian", debian("bookworm"), "amd64")
    assert problem(x86).startswith(
        "nothing for armhf there: http://m/debian/dists/bookworm/main/binary-armhf/Packages.xz"
    )
    assert problem(good, {"name": "lan", "debian": "http://m/debian", "debian-security": "http://m/sec"}).endswith(
        "http://m/sec/dists/bookworm-security/InRelease: 404 Not Found"
    )
    assert problem(good, {"name": "lan", "raspbian": "http://m/r"}) == "it has no packages of debian"
    assert problem(good, ["tuna"]) == "a candidate is a name, a URL or a mapping of archives to URLs"
    assert problem(good, "tunna", sites={"tuna": {}}) == "no such mirror is known; known are tuna, and URLs"
    good.files["http://m/debian/dists/bookworm/InRelease"] = urllib.error.URLError(TimeoutError("timed out"))
    assert problem(good) == "http://m/debian/dists/bookworm/InRelease: timed out after 8 s"
    good.files["http://m/debian/dists/bookworm/InRelease"] = RuntimeError("what a server can do")
    assert problem(good) == "RuntimeError: what a server can do"


def test_one_that_hangs_longer_than_all_deadlines_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().has("http://m/debian", debian("bookworm"), "armhf")
    monkeypatch.setattr(probe.asking, "TOTAL_SECONDS", 1.0)  # the good one must answer within it, too
    over = threading.Event()

    def check_suite(_: Any, uri: str, *__: Any) -> bool:
        return over.wait(30) if "slow" in uri else True

    monkeypatch.setattr(probe.apt_mirrors, "check_suite", check_suite)
    monkeypatch.setattr(probe.apt_mirrors, "speed", lambda *_: 1)
    candidates = ["http://slow/debian", "http://m/debian"]
    reports = probe.apt_mirrors.survey({**QUESTION, "candidates": candidates}, world)
    assert "no answer within" in reports[0]["problem"]
    assert reports[1]["problem"] == ""
    over.set()


def test_a_mirror_far_behind_the_others_is_not_taken() -> None:
    world = World().has("http://m/debian", debian("bookworm"), "armhf", date="01 Nov 2026", size=10)
    world.has("http://old/debian", debian("bookworm"), "armhf", date="01 Oct 2026", size=10**6)
    reports = probe.apt_mirrors.survey({**QUESTION, "candidates": ["http://old/debian", "http://m/debian"]}, world)
    assert reports[0]["problem"] == "its bookworm is 31 days behind that of other mirrors"
    assert probe.asking.choose(reports)["name"] == "http://m/debian"


def test_the_fastest_is_taken_and_the_one_in_use_stays() -> None:
    def report(name: str, rate: float, **changes: Any) -> dict[str, Any]:
        return {"name": name, "problem": "", "rate": rate, "kept": False, "last": False, **changes}

    slow, fast, dead = report("slow", 1), report("fast", 9), report("dead", 99, problem="x")
    last = report("archive", 999, last=True)
    assert probe.asking.choose([slow, fast, dead, last])["name"] == "fast"
    assert probe.asking.choose([dead, last])["name"] == "archive"
    assert probe.asking.choose([dead]) is None
    used = report("used", 5, kept=True)
    assert probe.asking.choose([used, fast])["name"] == "used"
    assert probe.asking.choose([used, fast], again=True)["name"] == "fast"
    assert probe.asking.choose([report("used", 5, kept=True, problem="x"), slow])["name"] == "slow"


def test_only_files_that_tvmops_wrote_say_what_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "a.list").write_text("# Written by tvmops from x\ndeb http://m/debian bookworm main\n")
    (tmp_path / "b.list").write_text("deb http://other/debian bookworm main\n")
    files = [str(tmp_path / "*.list"), str(tmp_path / "none")]
    words = probe.asking.our_sources(files)
    assert "http://m/debian" in words
    assert "http://other/debian" not in words


def test_the_one_in_use_is_asked_alone_while_it_is_good(tmp_path: Path) -> None:
    (tmp_path / "a.list").write_text("# Written by tvmops from x\ndeb http://m/debian bookworm main\n")
    files = [str(tmp_path / "*.list")]
    world = World().has("http://m/debian", debian("bookworm"), "armhf")
    question = {**QUESTION, "files": files, "candidates": ["http://n/debian", "http://m/debian"]}
    assert [one["name"] for one in probe.apt_mirrors.survey(question, world)] == ["http://m/debian"]
    assert len(probe.apt_mirrors.survey({**question, "again": True}, world)) == 2
    world.files.clear()
    world.has("http://n/debian", debian("bookworm"), "armhf")
    assert probe.asking.choose(probe.apt_mirrors.survey(question, world))["name"] == "http://n/debian"


# -- the Python index


def index(url: Any, world: World, **question: Any) -> dict[str, Any]:
    asked = {
        "candidates": [url],
        "sites": {"tuna": "https://t/simple"},
        "files": [],
        "must": True,
        "again": False,
        **question,
    }
    report: dict[str, Any] = probe.python_indexes.survey(asked, world)[0]
    return report


def test_mirrors_are_asked_through_apts_proxy_and_indexes_as_pip_would(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def proxies(apt_config: Any) -> dict[str, list[Any]]:
        monkeypatch.setattr(probe.apt_mirrors.subprocess, "check_output", apt_config)
        openers = {kind: make() for kind, _, make in probe.KINDS}
        kind_of = urllib.request.ProxyHandler
        return {
            kind: [one.proxies for one in found.handlers if isinstance(one, kind_of)] for kind, found in openers.items()
        }

    def hangs(*_: Any, **__: Any) -> bytes:
        raise subprocess.TimeoutExpired("apt-config", 8)

    url = "http://10.0.0.1:3142"
    told = proxies(lambda argv, timeout: f'{argv[2]} "{url}";\n{argv[2]}::lan "DIRECT";\n'.encode())
    assert told == {"apt": [{"http": url, "https": url}], "pip": []}
    assert proxies(hangs) == {"apt": [], "pip": []}


def test_an_index_must_be_https_or_in_the_lan() -> None:
    world = World()
    for url in ("https://t/simple/pip/", "http://10.0.0.5:3141/index/pip/", "http://93.184.216.34/simple/pip/"):
        world.files[url] = b'<a href="pip-24.0-py3-none-any.whl">'
    assert index("tuna", world)["problem"] == index("tuna", world)["trusted_host"] == ""
    assert index("http://10.0.0.5:3141/index/", world)["trusted_host"] == "10.0.0.5"
    for must in (True, False):
        assert "neither https nor in the LAN" in index("http://93.184.216.34/simple", world, must=must)["problem"]
    assert "neither an https nor an http URL" in index("ftp://10.0.0.5/x", world)["problem"]
    assert "known are tuna" in index("tunna", world)["problem"]
    assert "neither an https nor an http URL" in index({"url": "https://t/simple"}, world)["problem"]


def test_a_name_is_in_the_lan_when_all_its_addresses_are() -> None:
    def resolve(*addresses: str) -> Any:
        return lambda host, port: [(0, 0, 0, "", (address, 0)) for address in addresses]

    assert probe.python_indexes.in_lan("cache.lan", resolve("10.1.2.3", "fe80::1%eth0"))
    assert not probe.python_indexes.in_lan("cache.example", resolve("10.1.2.3", "93.184.216.34"))


def test_an_index_that_was_named_is_written_while_it_is_down_with_a_warning() -> None:
    named = index("https://t/simple", World(), must=False)
    assert (named["problem"], named["warning"]) == ("", "https://t/simple/pip/: 404 Not Found")
    assert "404" in index("https://t/simple", World())["problem"]
