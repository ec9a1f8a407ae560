"""Programs that bring and make tools: archives of every kind of mischief, downloads cut off, builds taken up again."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_program import CUT_OFF, odd_server, program
from playbook_texts import Texts, facts_of

fetch = program("toolchain_fetch")
make = program("toolchain_make")


def tar(path: Path, *members: tuple[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                bundle.addfile(content)
                continue
            about = tarfile.TarInfo(name)
            about.size, about.mode = len(content), 0o755
            bundle.addfile(about, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[str, tarfile.TarInfo]:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, target
    return name, about


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Tool:
    """One tool and the question about it; its archives are given as files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.prefix, self.work = folder, folder / "opt" / "tool-1", folder / "work"
        self.archives = folder / "archives"
        self.archives.mkdir()
        self.asked: dict[str, Any] = {
            "name": "tool-1", "prefix": str(self.prefix), "work": str(self.work), "check": False, "origins": [],
            "prove": [["bin/tool", "--version"]], "options": [], "index": "", "given": [],
            "archives": str(self.archives),
        }  # fmt: skip
        self._monkeypatch = monkeypatch

    def give(self, path: Path, **origin: Any) -> None:
        self.asked["origins"].append({"file": path.name, "sha256": sha256(path), **origin})
        if path.parent == self.archives:
            self.asked["given"].append(path.name)

    def ask(self, program: Any, **changes: Any) -> int:
        self._monkeypatch.setenv("TVMOPS_TOOL", json.dumps({**self.asked, **changes}))
        status: int = program.main()
        return status


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    return Tool(tmp_path, monkeypatch)


def test_programs_out_of_an_archive(tool: Tool) -> None:
    program = b"#!/bin/sh\necho tool 1\n"
    tool.give(
        tar(tool.archives / "a.tgz", ("tool-linux/bin/tool", program), link("tool-linux/bin/t", "tool")), part="tool-*"
    )
    assert tool.ask(fetch, check=True) == tool.ask(make, check=True) == fetch.MADE
    assert not tool.work.exists()
    assert tool.ask(fetch) == tool.ask(make) == fetch.MADE
    assert (tool.prefix / "bin" / "t").read_bytes() == program
    assert json.loads((tool.prefix / ".complete").read_text())["file"] == "a.tgz"
    assert not tool.work.exists()
    assert tool.ask(fetch) == tool.ask(make) == tool.ask(make, check=True) == fetch.RIGHT


def test_programs_that_do_not_run_here_leave_nothing_and_are_tried_again(tool: Tool, capsys: Any) -> None:
    library = tool.folder / "libtinfo.so.5"
    program = f"#!/bin/sh\n[ -e {library} ] || {{ echo wrong libc >&2; exit 1; }}\n"
    tool.give(tar(tool.archives / "a.tgz", ("bin/tool", program.encode())))
    assert tool.ask(fetch) == fetch.MADE
    assert tool.ask(make) == make.WRONG
    assert "tool-1: bin/tool --version does not run: wrong libc" in capsys.readouterr().out
    assert not tool.prefix.exists()
    library.touch()
    assert tool.ask(fetch) == tool.ask(make) == make.MADE
    assert (tool.prefix / ".complete").exists()


def test_a_wheel_keeps_what_may_be_run(tool: Tool) -> None:
    with zipfile.ZipFile(tool.archives / "cmake.whl", "w") as wheel:
        about = zipfile.ZipInfo("cmake/data/bin/tool")
        about.external_attr = 0o100775 << 16
        wheel.writestr(about, "#!/bin/sh\nexit 0\n")
    tool.give(tool.archives / "cmake.whl", part="cmake/data", package="cmake", glibc="2.5")
    assert tool.ask(fetch) == tool.ask(make) == fetch.MADE
    assert (tool.prefix / "bin" / "tool").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("../evil", b"x")], "leads out of it"),
        ([("/etc/evil", b"x")], "leads out of it"),
        ([link("a/b", "../../etc/passwd")], "leads out of it"),
        ([link("a", "/etc/passwd")], "leads out of it"),
        ([link("a", "../evil", tarfile.LNKTYPE)], "leads out of it"),
        ([link("fifo", "", tarfile.FIFOTYPE)], "neither file nor folder nor link"),
        ([("other/file", b"x")], "no tool-* in the archive"),
    ],
)
def test_archives_that_are_up_to_something(tool: Tool, capsys: Any, members: Any, reason: str) -> None:
    tool.give(tar(tool.archives / "a.tgz", *members), part="tool-*")
    assert tool.ask(fetch) == fetch.WRONG
    assert reason in capsys.readouterr().out
    assert not (tool.folder / "evil").exists()
    assert not (tool.work / "origin.json").exists()


def test_wrong_and_torn_archives(tool: Tool, capsys: Any) -> None:
    path = tar(tool.archives / "a.tgz", ("bin/tool", b"x" * 99999))
    tool.give(path)
    path.write_bytes(path.read_bytes()[:50])
    assert tool.ask(fetch) == fetch.WRONG
    assert "is not what it should be: its SHA-256 is" in capsys.readouterr().out
    tool.asked["origins"][0]["sha256"] = sha256(path)
    assert tool.ask(fetch) == fetch.WRONG
    assert "cannot be unpacked" in capsys.readouterr().out
    tool.asked["origins"][0]["glibc"] = "99.1"
    assert tool.ask(fetch) == fetch.WRONG
    assert "nothing fits this board: a.tgz needs glibc 99.1, this is" in capsys.readouterr().out


# -- downloads


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files`; the first answer for a name in `cut` ends half way."""

    files: dict[str, bytes] = {}
    cut: set[str] = set()
    ranges: list[str] = []

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        if content is None:
            self.send_error(404)
            return
        if start >= len(content):
            self.send_error(416)
            return
        self.ranges.append(self.headers.get("Range", ""))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        half = self.path in self.cut
        self.cut.discard(self.path)
        self.wfile.write(content[start : len(content) // 2 if half else None])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.files, Server.cut, Server.ranges = {}, set(), []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_a_download_that_was_cut_off_goes_on(tool: Tool, server: str, capsys: Any) -> None:
    path = tar(tool.folder / "a.tgz", ("bin/tool", b"#!/bin/sh\n" + bytes(range(256)) * 999))
    Server.files["/a.tgz"] = path.read_bytes()
    Server.cut.add("/a.tgz")
    tool.give(path, urls=[f"{server}/none.tgz", f"{server}/a.tgz"])
    assert tool.ask(fetch) == fetch.WRONG
    said = capsys.readouterr().out
    assert "none.tgz: 404" in said
    assert "what has come is kept for the next time" in said
    assert tool.ask(fetch) == fetch.MADE
    assert Server.ranges == ["", f"bytes={len(Server.files['/a.tgz']) // 2}-"]


def test_a_server_that_breaks_off_in_its_own_ways_is_a_reason(tool: Tool, capsys: Any) -> None:
    answers = {"/chunked": CUT_OFF, "/noise": b"what is HTTP\r\n\r\n", "/simple/cmake/": CUT_OFF}
    with odd_server(answers) as base:
        origin = {"file": "a.tgz", "sha256": "0" * 64, "package": "cmake", "urls": [f"{base}/chunked", f"{base}/noise"]}
        assert tool.ask(fetch, origins=[origin], index=f"{base}/simple") == fetch.WRONG
    said = capsys.readouterr().out
    assert said.count("IncompleteRead") == 2
    assert "what is HTTP" in said


def test_an_index_names_the_file_and_content_decides(tool: Tool, server: str, capsys: Any) -> None:
    path = tar(tool.folder / "cmake-3+a.whl.tgz", ("bin/tool", b"#!/bin/sh\n"))
    link_text = '<a href="../../files/cmake-3%2Ba.whl.tgz#sha256=0">x</a><a href="other.whl">y</a>'
    Server.files["/simple/cmake/"] = link_text.encode()
    tool.give(path, package="cmake")
    assert tool.ask(fetch, index=f"{server}/simple/") == fetch.WRONG
    assert "404" in capsys.readouterr().out
    Server.files["/files/cmake-3%2Ba.whl.tgz"] = b"what somebody else put there"
    assert tool.ask(fetch, index=f"{server}/simple/") == fetch.WRONG
    assert "is not what it should be" in capsys.readouterr().out
    Server.files["/files/cmake-3%2Ba.whl.tgz"] = path.read_bytes()
    assert tool.ask(fetch, index=f"{server}/simple/") == fetch.MADE
    Server.files["/simple/cmake/"] = b"<html>"
    tool.asked["origins"][0]["file"] = "cmake-4.whl"
    assert tool.ask(fetch, index=f"{server}/simple/", work=str(tool.folder / "w2")) == fetch.WRONG
    assert "has no cmake-4.whl" in capsys.readouterr().out


# -- builds

CONFIGURE = """#!/bin/sh
echo configured "$@" >> {notes}
sed "s,@PREFIX@,${{1#--prefix=}},g" "$(dirname "$0")/Makefile.in" > Makefile
"""
MAKEFILE = """
all: part1 part2
part1:
\techo compiling 1 >> {notes}; touch part1
part2:
\t@test ! -e {broken} || {{ echo "tool.c:7:1: error: no such thing"; exit 1; }}
\techo compiling 2 >> {notes}; touch part2
install:
\tmkdir -p $(DESTDIR)@PREFIX@/bin
\tprintf '#!/bin/sh\\necho @PREFIX@\\n' > $(DESTDIR)@PREFIX@/bin/tool; chmod +x $(DESTDIR)@PREFIX@/bin/tool
"""


def test_a_build_that_failed_is_taken_up_where_it_was(tool: Tool, capsys: Any) -> None:
    notes, broken = tool.folder / "notes", tool.folder / "broken"
    sources = [("tool-1.0/configure", CONFIGURE), ("tool-1.0/Makefile.in", MAKEFILE)]
    texts = [(name, text.format(notes=notes, broken=broken).encode()) for name, text in sources]
    tool.give(tar(tool.archives / "tool.tgz", *texts), part="tool-*", recipe="python", options=["--with-x"])
    tool.asked["options"] = ["--for-this-machine"]
    broken.touch()
    assert tool.ask(fetch) == fetch.MADE
    assert tool.ask(make) == make.WRONG
    said = capsys.readouterr().out
    assert "make ended with 2: tool.c:7:1: error: no such thing (all of it: " in said
    assert not tool.prefix.exists()
    broken.unlink()
    assert tool.ask(fetch) == fetch.RIGHT
    assert tool.ask(make) == make.MADE
    assert sorted(notes.read_text().splitlines()) == [
        "compiling 1", "compiling 2", f"configured --prefix={tool.prefix} --for-this-machine --with-x",
    ]  # fmt: skip
    assert str(tool.prefix) in (tool.prefix / "bin" / "tool").read_text()
    assert not tool.work.exists()


def test_memory_and_processors_limit_what_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make.os, "cpu_count", lambda: 4)
    for free, swap, jobs, links in ((4000, 0, 2, 1), (900, 0, 1, 1), (4000, 4000, 4, 2), (12500, 0, 4, 3)):
        text = f"MemTotal: 1 kB\nMemAvailable: {free << 10} kB\nSwapFree: {swap << 10} kB\n"
        with monkeypatch.context() as patch:
            patch.setattr("builtins.open", lambda *_, text=text: io.StringIO(text))
            assert (make.parallel(make.COMPILE_MB), make.parallel(make.LINK_MB)) == (jobs, links)


def test_what_is_wanted_of_the_distribution_and_what_else() -> None:
    def texts(board: str, said: str = "", **variables: Any) -> Texts:
        found = Texts(facts_of(board), variables, "toolchain")
        found.results["toolchain_llvm_answer"] = {"stdout": said}
        return found

    debian = "llvm-13-dev\nllvm-13\nllvm-14-dev\nllvm-15-dev\nllvm-16-dev"
    for allowed, packages, otherwise in (
        ([8, 14], ["llvm-14-dev"], []),
        ([10, 17], ["llvm-16-dev", "libzstd-dev"], []),
        ([8, 11], [], ["llvm-11.1.0"]),
    ):
        board = texts("nuc", debian, toolchain_llvm_range=allowed)
        assert (board.value("toolchain_llvm_packages"), board.value("toolchain_wanted")) == (packages, otherwise)
    assert texts("nuc", debian, toolchain_llvm_range=[10, 17], toolchain_llvm_blocked=[16, 15]).value(
        "toolchain_llvm_packages"
    ) == ["llvm-14-dev"]
    tutorial = texts("server", toolchain=["cmake-3.31.10", "llvm-11.1.0", "gcc-9.5.0", "python-3.7.17"])
    assert {"gcc", "libtinfo-dev", "zlib1g-dev", "libedit-dev", "libxml2-dev", "libssl-dev"} <= set(
        tutorial.value("toolchain_packages")
    )
    assert "cmake" not in tutorial.value("toolchain_packages")
    assert "libtinfo5" in tutorial.value("toolchain_packages")  # jammy
    plain = texts("server").value("toolchain_packages")
    assert ("cmake" in plain, "libtinfo5" in plain) == (True, False)
    assert tutorial.value("toolchain_path").startswith(
        "/opt/tvmops/toolchain/cmake-3.31.10/bin:/opt/tvmops/toolchain/llvm-11.1.0/bin:"
    )
    assert [texts(name).value("toolchain_architecture") for name in ("rk3288", "jetson-nano")] == ["armv7l", "aarch64"]


def test_every_known_file_is_pinned_and_every_tool_has_a_way_for_every_board() -> None:
    known = Texts(facts_of("nuc"), {}, "toolchain").value("toolchain_known")
    for about in known.values():
        assert about["prove"]
        assert about["source"]
        for origins in about.values():
            for origin in origins if isinstance(origins, list) and isinstance(origins[0], dict) else []:
                assert len(origin["sha256"]) == 64
                assert origin.get("urls") or origin.get("package")
                assert all(url.startswith("https://") for url in origin.get("urls", []))
