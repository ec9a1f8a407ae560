"""stack.check on this machine, and options checked against the real source tree of TVM 0.19."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from config_texts import read_config
from ssh_servers import free_port

from tvmops.errors import ConfigError
from tvmops.stack import load_stack, stack_names
from tvmops.stack.config import render_config
from tvmops.stack.options import known_options, renamed_options
from tvmops.stack.sources import fetch_source

EVERYTHING = """\
name: {name}
api: relay
version: "0.19.0"
tag: v0.19.0
python: ">=3.10,<3.12"
boards: {{architectures: [x86_64, aarch64, armv7l], glibc: "{glibc}"}}
sources:
  wheel: {{kind: wheel, pin: a==1, sha256: "{sha}"}}
options: {{runtime: {{USE_RPC: ON}}}}
server: lean
"""


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tvmops", "stack.check", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def stack_file(folder: Path, name: str, glibc: str) -> str:
    path = folder / f"{name}.yml"
    path.write_text(EVERYTHING.format(name=name, glibc=glibc, sha="0" * 64))
    return str(path)


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": free_port()}
    path = tmp_path / "hosts.yml"
    path.write_text(json.dumps({"all": {"hosts": {"here": here, "there": here, "gone": gone}}}))
    return str(path)


def test_hosts_and_all_stacks(inventory: str, tmp_path: Path) -> None:
    done = check("--inventory", inventory, "--host", "here,there")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("relay-0.19") == 2
    assert "built elsewhere" in done.stdout
    answers = json.loads(check("--inventory", inventory, "--host", "here,there", "--json").stdout)
    assert set(answers) == {"here", "there"}
    assert [answer["stack"] for answer in answers["here"]] == stack_names()
    assert all(answer["fits"] == (answer["reasons"] == []) for answer in answers["here"])

    fitting = check("--inventory", inventory, "--host", "here", "--stack", stack_file(tmp_path, "old", "2.17"))
    assert (fitting.returncode, fitting.stderr) == (0, "")
    refused = check("--inventory", inventory, "--host", "here", "--stack", stack_file(tmp_path, "new", "9.9"))
    assert refused.returncode == 13
    assert "stack new does not fit here: its glibc is" in refused.stderr
    assert "needs 9.9 or newer -> a newer release of its distribution" in refused.stdout


def test_a_host_that_is_gone_does_not_hide_the_others(inventory: str) -> None:
    done = check("--inventory", inventory, "--host", "here,gone")
    assert done.returncode == 4
    assert "here  (" in done.stdout
    assert "gone" in done.stderr


def test_options_of_the_real_tree() -> None:
    stack = load_stack("relay-0.19")
    tree = fetch_source(stack, None, lambda text: None).folder
    known = known_options(tree)
    assert len(known) > 100
    unread = {name for name, option in known.items() if not option.reads}
    assert {"USE_VTA_FSIM", "USE_VTA_TSIM", "USE_VTA_FPGA"} <= unread
    assert not {"USE_RPC", "USE_LLVM", "USE_OPENCL", "USE_CPP_RPC", "USE_KALLOC_ALIGNMENT"} & unread
    assert known["USE_LLVM"].takes_path
    assert renamed_options(tree)["USE_GRAPH_RUNTIME"] == "USE_GRAPH_EXECUTOR"

    config = render_config(stack, "runtime", {"tvm_build_options": {"USE_OPENCL": "ON"}}, {"USE_SORT": "OFF"}, tree)
    assert config.options == {**stack.options["runtime"], "USE_OPENCL": "ON", "USE_SORT": "OFF"}
    assert read_config(config.text) == config.options

    asked = {"USE_GRAPH_RUNTIME": "ON", "USE_VTA_FSIM": "ON", "USE_OPENCLL": "ON", "USE_CPP_RPC": "ON"}
    with pytest.raises(ConfigError) as raised:
        render_config(stack, "runtime", {}, asked, tree)
    said = str(raised.value)
    assert "USE_GRAPH_RUNTIME is called USE_GRAPH_EXECUTOR in v0.19.0" in said
    assert "USE_VTA_FSIM was removed after v0.18.0" in said
    assert "did you mean 'USE_OPENCL'?" in said
    assert "USE_CPP_RPC needs apps/cpp_rpc, which this source tree lacks" in said


def test_what_is_shown_about_a_stack_that_is_built() -> None:
    def run(*arguments: str) -> str:
        argv = [sys.executable, "-m", "tvmops", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

    listed = json.loads(run("stack.list", "--json"))
    assert {one["name"]: one["built"] for one in listed} == {name: name != "relax-0.27" for name in stack_names()}
    shown = run("stack.show", "relay-0.18")
    for expected in ("git https://github.com/apache/tvm refs/tags/v0.18.0", "CMake 3.18 (3.20 with LLVM)", "vta-hw"):
        assert expected in shown
    details = json.loads(run("stack.show", "relay-0.19", "--json"))
    assert details["release"]["llvm_blocked"] == ["12.0.0"]
    assert details["options"]["runtime"]["USE_LLVM"] == "OFF"
    assert "xgboost==1.7.6" in details["pins"]["tuning"]
