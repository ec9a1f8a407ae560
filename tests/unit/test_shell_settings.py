"""TVM's environment in login shells: added once, and what tutorials have put into users' files is only reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from tvmops.paths import project_root

PROGRAM = project_root() / "playbooks" / "files" / "shell_settings.py"
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(project_root() / "templates"), trim_blocks=True, keep_trailing_newline=True
)
SETTINGS = """# Written by tvmops.
TVM_HOME=/opt/tvmops/current
PYTHONPATH=/opt/tvmops/current:/opt/tvmops/current/python
LD_LIBRARY_PATH=/opt/tvmops/current/lib
TVM_NUM_THREADS=4
TOPHUB_LOCATION=/opt/tvmops/tophub
"""
SHOW = 'echo "$TVM_HOME|$PYTHONPATH|$LD_LIBRARY_PATH|${TVM_NUM_THREADS:-}|${TOPHUB_LOCATION:-}|${tvmops_line:-}"'


def test_settings_by_hand_are_found(tmp_path: Path) -> None:
    bashrc = """# export TVM_HOME=/old
export TVM_HOME=/home/pi/tvm
export PYTHONPATH=$TVM_HOME/python:${PYTHONPATH}
export PYTHONPATH=/opt/other
  LD_LIBRARY_PATH=/home/pi/TVM/build
if [ -r /x/tvmops.sh ]; then . /x/tvmops.sh; fi  # tvmops: the environment of TVM
alias tvm_home=ls
"""
    (tmp_path / ".bashrc").write_text(bashrc)
    (tmp_path / ".profile").write_bytes(b"\xff\xfe export\nTVM_NUM_THREADS=4\n")
    argv = [sys.executable, "-I", PROGRAM, tmp_path, tmp_path / "none"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{tmp_path}/.bashrc:2: export TVM_HOME=/home/pi/tvm",
        f"{tmp_path}/.bashrc:3: export PYTHONPATH=$TVM_HOME/python:${{PYTHONPATH}}",
        f"{tmp_path}/.bashrc:5: LD_LIBRARY_PATH=/home/pi/TVM/build",
        f"{tmp_path}/.profile:2: TVM_NUM_THREADS=4",
    ]
    assert (tmp_path / ".bashrc").read_text() == bashrc


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_login_shells_get_it_once(tmp_path: Path, shell: str) -> None:
    settings = tmp_path / "tvm.env"
    settings.write_text(SETTINGS)
    script = tmp_path / "tvmops.sh"
    script.write_text(TEMPLATES.get_template("tvmops.sh.j2").render(settings_file=settings))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "/mine"}

    def said(line: str) -> str:
        argv = [shell, "-euc", line]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    current = "/opt/tvmops/current"
    once = said(f". {script}; {SHOW}")
    assert once == f"{current}|{current}:{current}/python:/mine|{current}/lib|4|/opt/tvmops/tophub|"
    assert said(f". {script}; . {script}; {SHOW}") == once
    settings.unlink()
    assert said(f'. {script}; echo "${{TVM_HOME:-none}}"') == "none"
