"""copy of whole folders: the same files, modes and verdicts as with a real Ansible, and nothing sent twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers import ansible_program
from test_ansible_twin import tree

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - copy: {{src: source, dest: {0}/as/, mode: "0640", directory_mode: "0750"}}
    - copy: {{src: source, dest: {0}/as/, mode: "0640", directory_mode: "0750"}}
    - copy: {{src: source/, dest: {0}/contents, mode: preserve}}
    - copy: {{src: source/, dest: {0}/contents, mode: preserve}}
    - copy: {{dest: {0}/contents/top, content: "mine"}}
    - copy: {{src: source/, dest: {0}/contents, mode: preserve}}
    - copy: {{src: source/, dest: {0}/contents, force: false}}
    - copy: {{src: source/, dest: {0}/links, local_follow: false}}
    - copy: {{src: source/, dest: {0}/links, local_follow: false}}
    - copy: {{src: source/, dest: {0}/plain}}
    - file: {{path: {0}/plain/inner/deep, mode: "0700"}}
    - copy: {{src: source/, dest: {0}/plain, directory_mode: "0711"}}
"""
RECAP = re.compile(r"^here\s*: ok=.*$", re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    source = tmp_path / "files/source"
    (source / "inner/deep").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "top").write_text("top\n")
    (source / "inner/deep/binary").write_bytes(bytes(range(256)).replace(b"\r", b"") * 100)
    (source / "inner/script").write_text("#!/bin/sh\n")
    (source / "inner/script").chmod(0o755)
    (source / "inner/link").symlink_to("script")
    (source / "folder").symlink_to("inner/deep")
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    return tmp_path


def run(program: list[str], project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ANSIBLE_HOME": str(project / "ansible-home"), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
    argv = [*program, "-i", str(project / "hosts.yml"), *options]
    done = subprocess.run(argv, cwd=project, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert RECAP.search(done.stdout), done.stdout + done.stderr
    return done


def recap(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    found = RECAP.search(done.stdout)
    assert found
    return dict(re.findall(r"(\w+)=(\d+)", found.group()))


def decoded(root: Path) -> dict[str, object]:
    """As `tree`, with the binary file's bytes as text."""
    (root / "x").mkdir(exist_ok=True)
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.write_text(path.read_bytes().hex()) if path.name == "binary" else None
    return tree(root)


def test_the_same_as_ansible(project: Path) -> None:
    ours, theirs = project / "ours", project / "theirs"
    for root in (ours, theirs):
        root.mkdir()
    (project / "site.yml").write_text(PLAYBOOK.format(ours))
    tvmops = [sys.executable, "-m", "tvmops", "playbook", str(project / "site.yml")]
    predicted = recap(run(tvmops, project, "--check"))
    assert list(ours.iterdir()) == []
    done = run(tvmops, project)
    assert done.returncode == 0, done.stdout
    (project / "site.yml").write_text(PLAYBOOK.format(theirs))
    expected = run([str(ansible_program()), str(project / "site.yml")], project)
    assert expected.returncode == 0, expected.stdout
    assert recap(done) == predicted
    assert {k: recap(done)[k] for k in ("ok", "changed")} == {k: recap(expected)[k] for k in ("ok", "changed")}
    assert decoded(ours) == decoded(theirs)


def test_links_in_a_circle_are_named(project: Path) -> None:
    (project / "files/source/inner/loop").symlink_to("..")
    (project / "site.yml").write_text(PLAYBOOK.format(project / "ours"))
    (project / "ours").mkdir()
    done = run([sys.executable, "-m", "tvmops", "playbook", str(project / "site.yml")], project)
    assert done.returncode == 2
    assert "leads back to a folder above it" in done.stdout + done.stderr
