"""What goes wrong between a user and boards, as the command line tells it: one message, an exit code, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_helpers import shell

from tvmops.lab import Lab
from tvmops.paths import project_root

pytestmark = pytest.mark.timeout(600)

PING = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {command: id -un, become: true}\n"
SLEEP = """
- hosts: all
  gather_facts: false
  tasks:
    - {name: long, command: sleep 3}
    - {name: after, command: "true"}
"""
SWEEP = """
name: faults
hosts: f1
measure: {warmup: 1, repeat: 5, min_repeat_ms: 50}
baseline: none
workloads:
  - name: no_model
    source: {kind: file, path: text.onnx}
    inputs: {x: {shape: [1, 4], dtype: float32}}
  - name: ocr_cls
    source:
      kind: wheel
      package: rapidocr-onnxruntime
      version: 1.4.4
      wheel_sha256: 971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf
      member: rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx
      sha256: e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c
    inputs: {x: {shape: [1, 3, 48, 192], dtype: float32}}
    task: {kind: orientation, picture: line, image_text: upside down, degrees: 180}
"""
# A crash in a session takes the listener with it, while the server's process and its port live on.
KILL_LISTENER = """
listener=$(pgrep -P "$(systemctl show -p MainPID --value tvm-rpc-server)")
kill -SEGV $(pgrep -P "$listener")
"""


class Commands:
    """tvmops commands with one lab as inventory and a state folder of their own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tvmops", *arguments, "-i", f"lab:{self.lab.id}"],
            env={**os.environ, "TVMOPS_STATE": str(self.folder / "state"), **environment},
            cwd=project_root(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, rc: int = 0, within: float = 300.0, **environment: str) -> str:
        """Output of a command that must end with exit code `rc` after at most `within` seconds, without a traceback."""
        with self.start(*arguments, **environment) as process:
            try:
                output, _ = process.communicate(timeout=within)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == rc, output
        assert "Traceback" not in output
        return output

    def playbook(self, text: str, *arguments: str, rc: int = 0, within: float = 60.0, **environment: str) -> str:
        path = self.folder / "site.yml"
        path.write_text(text)
        return self("playbook", str(path), *arguments, rc=rc, within=within, **environment)


@pytest.fixture(scope="module")
def commands(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(lab, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def measured(lab: Lab, commands: Commands) -> Iterator[str]:
    """A provisioned board."""
    lab.up(["f1"])
    commands("provision", "--host", "f1")
    yield "f1"


def test_hosts_and_labs_that_do_not_exist(commands: Commands) -> None:
    assert "no host or group matches 'b11'" in commands("provision", "--host", "b11", rc=5)
    assert "no host or group matches 'pynq'" in commands("facts", "--host", "all:!pynq", rc=5)
    assert "no such workload" in commands("sweep", "smoke", "--workload", "ocrr", rc=5)


def test_the_sudo_password_comes_from_the_environment_too(lab: Lab, commands: Commands) -> None:
    lab.up(["f2"], plain=True)
    shell(lab, "f2", "rm -f /etc/sudoers.d/*; usermod -aG sudo admin; echo admin:geheim | chpasswd")
    assert "wants a password" in commands.playbook(PING, "--host", "f2", rc=2)
    assert "did not accept" in commands.playbook(PING, "--host", "f2", rc=2, TVMOPS_BECOME_PASSWORD="falsch")
    commands.playbook(PING, "--host", "f2", TVMOPS_BECOME_PASSWORD="geheim")
    output = commands.playbook(PING, "--host", "f2", "--ask-become-pass", rc=5)
    assert "$TVMOPS_BECOME_PASSWORD" in output


def test_a_hung_mirror_stops_the_installation_of_python_and_leaves_no_lock(lab: Lab, commands: Commands) -> None:
    lab.up(["f3"])
    shell(lab, "f3", "apt-get purge -y -q 'python3*' 'libpython3*' > /dev/null 2>&1; ! command -v python3")
    lab.fault("f3", "mirror-hang")
    try:
        output = commands.playbook(PING, "--host", "f3", rc=2, within=90)
        assert "python3 is missing, a package server accepts connections and does not answer" in output
    finally:
        lab.fault("f3", "clear")
    assert shell(lab, "f3", "sleep 1; cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^apt-get' || true") == "0"
    commands.playbook(PING, "--host", "f3", within=120)


def test_ctrl_c_finishes_the_running_task_and_the_same_command_goes_on(lab: Lab, commands: Commands) -> None:
    lab.up(["f2"], plain=True)
    site = commands.folder / "long.yml"
    site.write_text(SLEEP)
    with commands.start("playbook", str(site), "--host", "f2", "--json") as process:
        assert process.stdout
        for line in process.stdout:
            if '"start"' in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        output = process.stdout.read()
    assert process.returncode == 130
    assert "Traceback" not in output
    assert '"interrupted": true' in output
    assert "after" in commands.playbook(SLEEP, "--host", "f2")


def test_a_file_that_is_no_model_fails_alone(commands: Commands, measured: str) -> None:
    (commands.folder / "text.onnx").write_text("this is no model\n")
    (commands.folder / "sweep.yml").write_text(SWEEP)
    output = commands("sweep", str(commands.folder / "sweep.yml"), rc=10)
    assert "NotOnnx: text.onnx is not an ONNX model" in output
    assert "measure ocr_cls on f1: median" in output
    assert "1 of 4 jobs failed, 2 are stored" in output


def test_a_listener_that_dies_in_the_middle_of_a_measurement(lab: Lab, commands: Commands, measured: str) -> None:
    (commands.folder / "text.onnx").write_text("this is no model\n")
    (commands.folder / "sweep.yml").write_text(SWEEP)
    sweep = ["sweep", str(commands.folder / "sweep.yml"), "--workload", "ocr_cls", "--repeat", "80", "--json"]
    with commands.start(*sweep) as process:
        assert process.stdout
        for line in process.stdout:
            if '"job_phase"' in line and '"measure"' in line and '"phase": "measure"' in line:
                break
        shell(lab, "f1", KILL_LISTENER)
        output = process.stdout.read()
    assert process.returncode == 0, output
    assert '"event": "retry"' in output
    assert '"status": "done"' in output
    assert "nothing to do" in commands(*sweep[:-1])


def test_runtime_and_compiler_that_differ(lab: Lab, commands: Commands, measured: str) -> None:
    (commands.folder / "text.onnx").write_text("this is no model\n")
    (commands.folder / "sweep.yml").write_text(SWEEP)
    version = "/opt/tvmops/current/VERSION"
    shell(lab, "f1", f"cp {version} /root/VERSION; sed -i s/^tvm=.*/tvm=0.26.0/ {version}")
    try:
        sweep = ["sweep", str(commands.folder / "sweep.yml"), "--workload", "ocr_cls", "--repeat", "4"]
        output = commands(*sweep, rc=10)
        assert "its runtime is TVM 0.26.0" in output
        assert "compiles with TVM 0.27.0" in output
    finally:
        shell(lab, "f1", f"cp /root/VERSION {version}")


def test_killed_outright_nothing_stored_is_done_again(commands: Commands, measured: str) -> None:
    (commands.folder / "text.onnx").write_text("this is no model\n")
    (commands.folder / "sweep.yml").write_text(SWEEP)
    sweep = ["sweep", str(commands.folder / "sweep.yml"), "--workload", "ocr_cls", "--repeat", "90"]
    with commands.start(*sweep, "--json") as process:
        assert process.stdout
        for line in process.stdout:
            if '"phase": "measure"' in line:
                break
        process.kill()
    time.sleep(0.5)
    output = commands(*sweep)
    assert "1 measure; 1 of 2 jobs are stored already" in output
    assert "2 of 2 jobs stored" in output
