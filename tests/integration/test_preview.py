"""`provision --check --facts`: the plan for each kind of board of the example fleet, text by text, without a board."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from board_program import program
from playbook_texts import Texts

from tvmops.inventory import load_inventory
from tvmops.paths import project_root

FACTS = project_root() / "tests" / "data" / "facts"
KINDS = {
    "jetson-nano": "jetson",
    "rpi3b": "rpi3b",
    "rk3288": "rk3288",
    "pynq-z1": "pynq",
    "nuc": "nuc",
    "lab-server": "lab-server",
}


def with_mirrors(kind: str, group: str, folder: Path) -> Path:
    """The saved set, and what mirror_probe says when the first candidate answers and is complete."""
    saved = json.loads((FACTS / f"{kind}.json").read_text())
    host = next(iter(load_inventory([project_root() / "inventory/hosts.yml"]).select(group)))
    texts = Texts(saved["facts"], host.vars, "mirrors")
    probe = program("mirror_probe")
    question = texts.value("mirror_question")
    apt = probe.apt_mirrors.candidate(question, question["candidates"][0])
    asked = texts.value("mirror_index_question")
    index = asked["candidates"][0]
    pip = {"name": index, "url": asked["sites"].get(index, index), "trusted_host": "", "warning": ""}
    answer = {"rc": 0, "stdout": json.dumps({"apt": apt, "pip": pip})}
    saved["answers"]["mirror_probe"] = answer
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(saved))
    return path


def checked(folder: Path, saved: Path, *words: str, rc: int = 0) -> subprocess.CompletedProcess[str]:
    """A check run of tvmops for the example fleet, with these facts."""
    argv = [sys.executable, "-m", "tvmops", *words, "--check", "--diff", "-i", "inventory/hosts.yml"]
    argv += ["--facts", str(saved)]
    own = {"TVMOPS_STATE": str(folder / "state"), "TVMOPS_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    done = subprocess.run(
        argv, cwd=project_root(), env={**os.environ, **own}, capture_output=True, text=True, check=False
    )
    assert done.returncode == rc, done.stdout[-4000:] + done.stderr
    return done


def preview(kind: str, folder: Path, *more: str, rc: int = 0, mirrors: bool = True) -> str:
    """What is planned for a kind of board, without the host's name; `mirrors`: they answer."""
    group = KINDS[kind]
    saved = with_mirrors(kind, group, folder) if mirrors else FACTS / f"{kind}.json"
    done = checked(folder, saved, "provision", "--host", group, *more, rc=rc)
    return re.sub(r"(?m)^[\w-]+: ", "", done.stdout + done.stderr)


def block(text: str, title: str) -> str:
    """What is told of a task: its line and all up to the next task's."""
    found = re.search(rf"(?ms)^{re.escape(title)}.*?(?=^[A-Z][^\n]* \.\.\. |^\nPLAY|\Z)", text)
    assert found, f"{title!r} is not in\n{text}"
    return found[0]


def added(text: str, title: str) -> list[str]:
    """The lines that a task would write."""
    return [line[1:] for line in block(text, title).splitlines() if line.startswith("+") and not line.startswith("+++")]


def sources(text: str) -> list[str]:
    return [line for line in added(text, "Package sources, one-line form") if not line.startswith("#")]


def parts(text: str) -> dict[str, str]:
    """What becomes of the parts that hosts may ask for."""
    names = ("The clocks", "OpenCL", "MXNet", "Tuning logs")
    return {name: block(text, f"{name} ... ").split(" ... ")[1].splitlines()[0] for name in names}


@pytest.mark.parametrize(
    ("complete", "python"), [('{"python": "/opt/py/bin/python3"}', "/opt/py/bin/python3"), ("", "/usr/bin/python3")]
)
def test_an_rpc_server_keeps_the_python_of_its_release(complete: str, python: str, tmp_path: Path) -> None:
    saved = json.loads((FACTS / "nuc.json").read_text())
    current = "/opt/tvmops/current"
    saved["files"] |= {f"{current}/manifest.json": '{"server": "lean"}', f"{current}/.complete": complete}
    (tmp_path / "nuc.json").write_text(json.dumps(saved))
    words = ("playbook", "playbooks/rpc-server.yml", "--host", "nuc", "-e", "tvm_rpc_key=nuc")
    done = checked(tmp_path, tmp_path / "nuc.json", *words)
    starts = [line for line in done.stdout.splitlines() if line.startswith("+ExecStart=")]
    assert starts
    assert all(line.startswith(f"+ExecStart={python} -I {current}/libexec/rpc_server.py") for line in starts), starts
    assert all(line.endswith(" --key=nuc") for line in starts)


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_the_mirrors_can_tell_is_unknown(kind: str, tmp_path: Path) -> None:
    """The command of docs/boards.md, with the saved facts as they are."""
    text = preview(kind, tmp_path, mirrors=False)
    assert "Package sources, one-line form ... changed (unknown: it needs mirror_answer, which only a real run" in text
    assert "pip's package index ... changed (unknown" in text


def test_a_jetson_nano(tmp_path: Path) -> None:
    text = preview("jetson-nano", tmp_path)
    tuna = "http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports"
    assert sources(text) == [
        f"deb {tuna} bionic main restricted universe",
        f"deb {tuna} bionic-updates main restricted universe",
        f"deb {tuna} bionic-security main restricted universe",
    ]
    assert "bionic: public security updates ended in 2023-05" in block(text, "What to know about them")
    assert added(text, "pip's package index")[-1] == "index-url = https://pypi.tuna.tsinghua.edu.cn/simple"
    assert parts(text) == {"The clocks": "ok", "OpenCL": "skipped", "MXNet": "skipped", "Tuning logs": "ok"}
    clocks = block(text, "Clocks are pinned")
    assert "+- after: '0'\n+  before: '1'\n+  what: nvpmodel\n" in clocks
    assert "what: jetson_clocks" in clocks
    assert "what: /sys/class/devfreq/57000000.gpu/governor" in clocks
    assert "The logs (arm_cpu_v0.08.log) ... changed" in text
    assert "The logs (adreno" not in text  # TVM 0.8 does not look for it
    assert "TOPHUB_LOCATION=file:///opt/tvmops/tophub" in added(text, "TVM looks for them there")
    release = added(text, "It becomes the current release")
    assert "src: releases/relay-0.8_aarch64-linux-gnu-glibc2.27" in release
    start = next(line for line in added(text, "The server's unit") if line.startswith("ExecStart="))
    assert start.startswith("ExecStart=/usr/bin/python3 -I /opt/tvmops/current/libexec/rpc_server.py")


def test_opencl_on_a_jetson_is_refused_with_the_reason(tmp_path: Path) -> None:
    text = preview("jetson-nano", tmp_path, "-e", "tvmops_opencl=true", rc=2)
    assert "NVIDIA ships no OpenCL driver for Tegra" in block(text, "FAILED: There is a driver for it")
    assert "Loader, headers" not in text


def test_a_raspberry_pi(tmp_path: Path) -> None:
    text = preview("rpi3b", tmp_path)
    assert "deb http://mirrors.tuna.tsinghua.edu.cn/raspbian/raspbian bookworm main contrib non-free rpi" in sources(
        text
    )
    assert not any("-security" in line or "-updates" in line for line in sources(text))
    assert "get_throttled 0x50005) now: under-voltage, throttled" in text
    assert text.count("src: releases/relay-0.19_arm-linux-gnueabihf-glibc2.36") == 2  # a range of two hosts
    assert text.count("failed=0") == 2


def test_an_rk3288(tmp_path: Path) -> None:
    text = preview("rk3288", tmp_path)
    assert "deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports xenial main restricted universe" in sources(text)
    assert "src: releases/relay-0.8_arm-linux-gnueabihf-glibc2.23" in added(text, "It becomes the current release")
    assert "- libmali-midgard-t76x-r14p0-r1p0-gbm" in added(text, "Loader, headers, clinfo and the driver")
    assert added(text, "The loader knows the Mali driver") == ["libmali.so"]
    assert "what: /sys/class/devfreq/ffa30000.gpu/governor" in block(text, "Clocks are pinned")
    assert "PrivateDevices=no" in added(text, "The server's unit")
    assert "groups" not in block(text, "User tvm")  # opencl.yml gives them
    later = preview("rk3288", tmp_path, "-e", "tvm_stack=relay-0.19", rc=2)
    assert "stack relay-0.19 does not fit firefly: its glibc is 2.23; stack relay-0.19 needs 2.27 or newer" in later


def test_a_pynq(tmp_path: Path) -> None:
    text = preview("pynq-z1", tmp_path)
    assert "src: releases/relay-0.18_arm-linux-gnueabihf-glibc2.27" in added(text, "It becomes the current release")
    assert block(text, "Clocks are pinned").startswith("Clocks are pinned for measuring ... ok")
    assert "--port=9091" in block(text, "The server's unit")
    assert "ubuntu-ports bionic main" in sources(text)[0]


def test_a_nuc(tmp_path: Path) -> None:
    text = preview("nuc", tmp_path)
    assert sources(text)[0] == "deb http://mirrors.tuna.tsinghua.edu.cn/debian bookworm main"
    assert "- intel-opencl-icd" in added(text, "Loader, headers, clinfo and the driver")
    assert "what: /sys/devices/system/cpu/intel_pstate/no_turbo" in block(text, "Clocks are pinned")
    assert "src: releases/relax-0.27_x86_64-linux-gnu-glibc2.36" in added(text, "It becomes the current release")
    assert "PrivateDevices=no" in added(text, "The server's unit")


def test_a_lab_server(tmp_path: Path) -> None:
    text = preview("lab-server", tmp_path)
    assert sources(text)[2] == "deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu jammy-security main restricted universe"
    assert parts(text) == {"The clocks": "ok", "OpenCL": "skipped", "MXNet": "skipped", "Tuning logs": "skipped"}
    assert "src: releases/relax-0.27_x86_64-linux-gnu-glibc2.35" in added(text, "It becomes the current release")


def test_what_is_no_saved_set(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    for content, check, told in (
        ("{", True, "is not JSON"),
        ('{"a": 1, "b": 2}', True, "holds no facts of one board"),
        ("{}", False, "give --check, too"),
    ):
        path.write_text(content)
        argv = [sys.executable, "-m", "tvmops", "provision", "--host", "nuc", "--facts", str(path)]
        environment: dict[str, Any] = {**os.environ, "TVMOPS_STATE": str(tmp_path)}
        done = subprocess.run(
            [*argv, *(["--check"] if check else [])],
            cwd=project_root(),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 5
        assert told in done.stderr
