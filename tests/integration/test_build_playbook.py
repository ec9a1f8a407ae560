"""playbooks/build.yml: on this machine and over ssh, by us and by Ansible, with the link and the tools cut off."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import psutil
import pytest
from peers import ansible_program
from small_build import FILES, environment, gated, pack, spec
from ssh_servers import Sshd

from tvmops.paths import project_root

SECONDS = 120.0
pytestmark = pytest.mark.timeout(900)  # Ansible sends the program's files one by one
PLAYBOOK = project_root() / "playbooks" / "build.yml"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


class Builder:
    """A builder, its inventory, and what is to be built there."""

    def __init__(self, folder: Path, variables: dict[str, Any]) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.out = folder / "result.tar.gz"
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": variables}}}))

    def order(self, files: dict[str, str], **changes: Any) -> None:
        """What the next run builds."""
        archive = pack(self.folder / "archive.tar.gz", files)
        variables = {
            "build_work": str(self.work), "build_archive": str(archive), "build_config": "set(GREETING x)\n",
            "build_spec": spec(**changes), "build_output": str(self.out), "build_python": sys.executable,
        }  # fmt: skip
        (self.folder / "vars.json").write_text(json.dumps(variables))

    def command(self, *options: str) -> list[str]:
        common = ["-i", str(self.folder / "hosts.yml"), "-e", f"@{self.folder / 'vars.json'}", *options]
        return [sys.executable, "-m", "tvmops", "playbook", str(PLAYBOOK), *common]

    def start(self, *options: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*options), stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment(self.folder)
        )

    def run(self, *options: str, rc: int = 0) -> str:
        process = self.start(*options)
        shown, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == rc, shown
        return shown

    def gated(self) -> dict[str, str]:
        """The project with a step that waits for go()."""
        return gated(self.folder)

    def go(self) -> None:
        (self.folder / "go").touch()

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.work / "done.json").read_text())["result"]
        return found


@pytest.fixture
def here(tmp_path: Path) -> Builder:
    """This machine as the builder."""
    return Builder(tmp_path, LOCAL)


@pytest.fixture
def far(tmp_path: Path, make_sshd: Callable[..., Sshd]) -> Builder:
    """A builder behind ssh."""
    (tmp_path / "home").mkdir()
    server = make_sshd(SetEnv=f"HOME={tmp_path / 'home'}")
    return Builder(tmp_path, server.vars(ansible_python_interpreter=sys.executable))


def counts(shown: str) -> str:
    found = re.findall(r"^here +: (ok=.*?)\s*$", shown, re.MULTILINE)
    assert found, shown
    return re.sub(r"\s+", " ", found[-1])


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def test_here_by_us_and_by_ansible(here: Builder, tmp_path: Path) -> None:
    here.order(FILES)
    preview = counts(here.run("--check"))
    assert "changed=6" in preview and "skipped=2" in preview
    assert not here.work.exists()
    assert "ok=8 changed=8" in counts(here.run())
    ours = here.out.read_bytes()
    assert "ok=8 changed=0" in counts(here.run())
    assert "changed=0" in counts(here.run("--check"))
    # Ansible, elsewhere: the same recaps, the same result.
    theirs = Builder(tmp_path / "theirs", LOCAL) if (tmp_path / "theirs").mkdir() is None else here
    theirs.order(FILES)
    argv = [str(ansible_program()), str(PLAYBOOK), *theirs.command()[5:]]
    env = {**environment(tmp_path), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(tmp_path / "ansible")}
    for expected in ("ok=8 changed=8", "ok=8 changed=0"):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False, env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in counts(done.stdout)
    assert theirs.out.read_bytes() == ours


def test_a_failed_build_says_what_failed_and_where_the_log_is(here: Builder) -> None:
    here.order({**FILES, "parts/5.cc": "#include <dmlc/logging.h>\n"})
    shown = here.run(rc=2)
    assert "fatal error: dmlc/logging.h: No such file or directory" in shown
    assert f"the whole log: {here.work / 'build.log'}" in shown
    assert "Traceback" not in shown
    assert not here.out.exists()
    here.order(FILES)
    assert "changed=" in counts(here.run())
    assert here.out.exists()


def test_a_controller_that_is_killed_loses_nothing(far: Builder) -> None:
    far.order(far.gated())
    first = far.start()
    until((far.folder / "begun").exists)
    first.kill()
    first.communicate()
    second = far.start()
    assert second.stdout
    lines: list[str] = []
    while not any("following it to its end" in line for line in lines):
        lines.append(second.stdout.readline())
        assert lines[-1], "".join(lines)
    assert not far.out.exists()
    far.go()
    rest, _ = second.communicate(timeout=SECONDS)
    assert second.returncode == 0, rest
    assert far.out.exists()
    # It was one build: the second run found it done.
    # A configuration runs CMake twice.
    assert (far.work / "build.log").read_text().count("cmake -G") == 2
    assert far.result()["objects"] == 4


def test_a_builder_whose_ninja_is_killed_goes_on_where_it_was(here: Builder) -> None:
    here.order(here.gated(), most_jobs=2)
    process = here.start()
    until((here.folder / "begun").exists)
    ninjas = processes.that(lambda one: one.name() == "ninja" and one.cwd() == str(here.work / "build"))
    assert len(ninjas) == 1
    os.kill(ninjas[0], signal.SIGKILL)
    here.go()
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, shown
    result = here.result()
    assert result["retried"] is True
    assert result["objects"] == 4  # none of them twice


def test_a_build_program_that_is_killed_is_gone_on_with(here: Builder) -> None:
    here.order(here.gated())
    process = here.start()
    until((here.folder / "begun").exists)
    [program] = processes.that(lambda one: str(here.work / "program") in one.cmdline())
    left = processes.tree(program)[1:]
    os.kill(program, signal.SIGKILL)
    shown, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 2, shown
    # Its ninja still writes in that folder: the next build waits for it.
    again = here.start()
    time.sleep(3)
    assert any(psutil.pid_exists(pid) for pid in left)
    assert again.poll() is None
    here.go()
    shown, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, shown
    assert here.result()["objects"] == 0
    assert here.out.exists()


def test_two_builds_of_one_folder_take_turns(here: Builder) -> None:
    here.order(here.gated())
    path = here.folder / "vars.json"
    made = json.loads(path.read_text())
    here.work.mkdir()
    (here.work / "source.tar.gz").write_bytes(Path(made["build_archive"]).read_bytes())
    (here.work / "config.cmake").write_text(made["build_config"])
    (here.work / "spec.json").write_text(json.dumps(made["build_spec"]))
    program = project_root() / "playbooks" / "files" / "builder"
    argv = [sys.executable, "-I", str(program), "build", str(here.work / "spec.json")]
    one = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(here.folder))
    until((here.folder / "begun").exists)
    two = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(here.folder))
    assert two.stdout
    assert "waiting for the build that works in" in two.stdout.readline()
    here.go()
    assert json.loads(one.communicate(timeout=SECONDS)[0].splitlines()[-1])["outcome"] == "built"
    assert json.loads(two.communicate(timeout=SECONDS)[0].splitlines()[-1])["outcome"] == "unchanged"
