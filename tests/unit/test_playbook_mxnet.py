"""wheel_choice.py: which MXNet wheel fits which board, and a smoke test that survives a crash."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_program import BOARDS, PROJECT, program, run

DATA = yaml.safe_load((PROJECT / "playbooks/vars/mxnet.yml").read_text())
X86 = "mxnet-1.9.1-py3-none-manylinux2014_x86_64.whl"
ARM = "mxnet-1.9.1-py3-none-manylinux2014_aarch64.whl"
JETSON = "mxnet_cu102-1.6.0-py2.py3-none-linux_aarch64.whl"
choice = program("wheel_choice")


def place(
    arch: str = "x86_64",
    python: tuple[int, int] = (3, 11),
    glibc: tuple[int, int] | None = (2, 36),
    cuda: str = "",
    l4t: str = "",
) -> Any:
    board = choice.Place("/nonexistent")
    board.arch, board.python, board.glibc, board.cuda, board.l4t = arch, python, glibc, cuda, l4t
    return board


NANO = {"arch": "aarch64", "python": (3, 6), "glibc": (2, 27), "cuda": "10.2", "l4t": "32.7"}


def asked(**given: str) -> dict[str, Any]:
    tables = {name: DATA[f"mxnet_{name}"] for name in ("wheels", "numpy", "others", "pip")}
    return {**tables, "given": "", "sha256": "", "cuda": "auto", "folder": "/opt/tvmops/mxnets", **given}


def refused(board: Any, **given: str) -> str:
    with pytest.raises(choice.Problem) as caught:
        choice.choose(asked(**given), board)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "board", "told"),
    [
        (X86, place(), ""),
        (X86, place(glibc=(2, 12)), "it needs glibc 2.17, this board has 2.12"),
        (X86, place(glibc=None), "it needs glibc 2.17, this board has another C library"),
        (X86, place("aarch64"), "it is for x86_64, this board's programs are for aarch64"),
        (ARM, place("armv7l"), "it is for aarch64, this board's programs are for armv7l"),
        (JETSON, place("aarch64", (3, 6)), ""),
        ("a-1-cp38-cp38-manylinux_2_31_x86_64.whl", place(), "it is for cp38, this board has Python 3.11"),
        ("a-1-cp311-cp311-manylinux_2_36_x86_64.whl", place(), ""),
        ("a-1-cp311-cp311-manylinux_2_39_x86_64.whl", place(), "it needs glibc 2.39, this board has 2.36"),
        ("a-1-cp39-abi3-manylinux1_x86_64.manylinux_2_39_x86_64.whl", place(), ""),
        ("a-1-cp312-abi3-any.whl", place(), "it is for cp312, this board has Python 3.11"),
        ("a-1-cp36-cp36m-linux_aarch64.whl", place("aarch64", (3, 6)), ""),
        ("a-1-py2-none-any.whl", place(), "it is for py2, this board has Python 3.11"),
        ("a-1-py3-none-macosx_11_0_arm64.whl", place(), "it is for macosx_11_0_arm64, this board is Linux with glibc"),
        ("a-1.tar.gz", place(), "a-1.tar.gz is not the name of a wheel"),
    ],
)
def test_the_tags_of_a_wheel(name: str, board: Any, told: str) -> None:
    assert choice.mismatch(name, board) == told


@pytest.mark.parametrize(
    ("board", "cuda", "wheel", "numpy"),
    [
        (place(), "auto", X86, "numpy==1.23.5"),
        (place(python=(3, 8), glibc=(2, 31)), "auto", X86, "numpy==1.23.5"),
        (place("aarch64", (3, 7), (2, 28)), "auto", ARM, "numpy==1.21.6"),
        (place(**NANO), "none", ARM, "numpy==1.19.5"),
        # A Jetson with another CUDA: the wheel for 10.2 would crash there.
        (place("aarch64", (3, 8), (2, 31), "11.4", "35.4"), "auto", ARM, "numpy==1.23.5"),
    ],
)
def test_the_wheel_for_a_board(board: Any, cuda: str, wheel: str, numpy: str) -> None:
    chosen = choice.choose(asked(cuda=cuda), board)
    assert (chosen["wheel"], chosen["send"]) == (wheel, "")
    lines = chosen["requirements"].splitlines()
    assert lines[0].startswith(numpy + " --hash=sha256:")
    assert lines[-1].startswith("mxnet==1.9.1 --hash=sha256:")
    assert all(" --hash=sha256:" in line for line in lines)
    assert chosen["first"].startswith("pip==21.3.1 --hash") == (board.python < (3, 8))


def test_a_nanos_gpu_wheel_can_no_longer_be_fetched() -> None:
    told = refused(place(**NANO))
    assert told.startswith(f"{JETSON} fits, but can no longer be fetched (https://mxnet-public.s3")
    assert told.endswith("Bring the file: mxnet_wheel and mxnet_wheel_sha256; or take the CPU's: mxnet_cuda: none")
    chosen = choice.choose(asked(given=f"/srv/wheels/{JETSON}", sha256="AB" * 32), place(**NANO))
    assert chosen["send"] == f"/srv/wheels/{JETSON}"
    assert chosen["requirements"].splitlines()[-1] == f"/opt/tvmops/mxnets/{JETSON} --hash=sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("board", "given", "told"),
    [
        (place(python=(3, 12)), {}, "MXNet needs NumPy below 1.24, which has wheels for Python 3.6, .*; .* has 3.12"),
        (place("armv7l"), {}, "no MXNet wheel fits: .*this board's programs are for armv7l"),
        (place(cuda="11.8"), {"cuda": "11.8"}, "it is for the CPU, not for CUDA 11.8"),
        (place("aarch64", (3, 6), (2, 27), "10.0", "32.3"), {"cuda": "10.2"}, "L4T 32.4, 32.5, .*board has 32.3"),
        (place(), {"given": f"/srv/{ARM}"}, f"{ARM} does not fit: it is for aarch64"),
        (place(), {"given": "https://h/a-1-py3-none-any.whl"}, "no SHA-256 is known for a-1-py3-none-any.whl"),
    ],
)
def test_what_is_refused(board: Any, given: dict[str, str], told: str) -> None:
    import re

    assert re.search(told, refused(board, **given))


def test_a_url_goes_to_pip_and_a_known_wheels_hash_is_known() -> None:
    line = choice.choose(asked(given=f"https://mirror.lan/{X86}"), place())["requirements"].splitlines()[-1]
    assert line == f"https://mirror.lan/{X86} --hash=sha256:{DATA['mxnet_wheels'][0]['sha256']}"


def test_a_jetsons_cuda_and_l4t_are_read(tmp_path: Path) -> None:
    nano = choice.Place(str(BOARDS / "jetson-nano"))
    assert nano.l4t in DATA["mxnet_wheels"][2]["l4t"]
    assert choice.machine("aarch64", 32) == "armv7l"
    (tmp_path / "usr/local/cuda").mkdir(parents=True)
    (tmp_path / "usr/local/cuda/version.txt").write_text("CUDA Version 10.2.300\n")
    assert choice.Place(str(tmp_path)).cuda == "10.2"


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os; os.abort()", "import mxnet crashed (signal 6): the wheel is built for another CUDA"),
        (
            "raise OSError('libopenblas.so.0: cannot open')",
            "import mxnet fails: OSError: libopenblas.so.0: cannot open",
        ),
        ("nd = None", "import mxnet fails: AttributeError"),
    ],
)
def test_the_smoke_test_survives(program: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mxnet.py").write_text(program)
    (tmp_path / "numpy.py").write_text("__version__ = '1'")
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(tmp_path))
    status, printed = run(choice, "smoke", sys.executable, str(tmp_path))
    assert status == 1
    assert json.loads(printed)["problem"].startswith(told)
    assert not (tmp_path / ".complete").exists()
