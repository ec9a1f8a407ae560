"""Board programs (playbooks/files) for tests: loaded from their files, run without a process of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).parents[2]
FILES = PROJECT / "playbooks" / "files"
BOARDS = PROJECT / "tests" / "unit" / "agent" / "boards"

# What NVIDIA's programs print and do, by the Jetson Linux guide, with files for the state.
NVPMODEL = """#!/bin/sh
case $1 in
-q) printf 'NV Power Mode: %s\\n%s\\n' "MODE" "$(cat {root}/mode)" ;;
-m) cat > {root}/answer; [ -e {root}/stubborn ] || echo "$2" > {root}/mode ;;
esac
"""
JETSON_CLOCKS = """#!/bin/sh
case $1 in
--show) echo "SOC family:tegra210  Machine:NVIDIA Jetson Nano Developer Kit"; echo "Online CPUs: 0-3"
  echo "cpu0: Online=1 Governor=schedutil MinFreq=$(cat {root}/min) MaxFreq=1479000 CurrentFreq=1 IdleStates: WFI=1" ;;
--store) cp {root}/min "$2" ;;
--restore) cp "$2" {root}/min ;;
*) echo 1479000 > {root}/min ;;
esac
"""


def program(name: str) -> ModuleType:
    """The program `name`.py, or the folder `name` with its parts, as a module."""
    folder = FILES / name
    path = folder / "__main__.py" if folder.is_dir() else FILES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(loaded)
    finally:
        sys.path.remove(str(path.parent))
    return loaded


def run(loaded: ModuleType, *arguments: str) -> tuple[int, str]:
    """(exit status, what it printed) of the program's main function."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status: int = loaded.main(list(arguments))
    return status, printed.getvalue()


def hanging(folder: Path, name: str) -> None:
    """A program that sleeps for 30 s, as does what it has started; both would write."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\nsleep 30\nexit 0\n")
    path.chmod(0o755)


# An answer that ends in the middle of a piece.
CUT_OFF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"


@contextlib.contextmanager
def odd_server(answers: Mapping[str, bytes]) -> Iterator[str]:
    """The URL of a server that says these bytes for these paths, whatever HTTP wants, and hangs up."""

    class Odd(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(answers[self.rfile.readline().split()[1].decode()])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Odd) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()


def jetson_programs(root: Path) -> None:
    """Put NVIDIA's programs into the tree of a Jetson, in its 5 W mode."""
    folder = root / "usr" / "sbin"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("nvpmodel", NVPMODEL), ("jetson_clocks", JETSON_CLOCKS)):
        (folder / name).write_text(text.replace("{root}", str(root)))
        (folder / name).chmod(0o755)
    (root / "mode").write_text("1\n")
    (root / "min").write_text("102000\n")
