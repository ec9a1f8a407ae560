"""Undoing runs on boards: after a power loss in the middle, and what a check on an empty board foretells."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import pytest
from lab_helpers import Commands, shell
from site_runs import ROUNDS, SEED, begin, finish

from tvmops.lab import Lab

pytestmark = pytest.mark.timeout(600 + 60 * ROUNDS)

FILES = 30
TREE = "cd /srv/site && find . -printf '%p %m %U %G %y %l\\n' | sort && find . -type f | sort | xargs sha256sum"
PREPARE = f"""mkdir -p /srv/site/old/tree/inner /srv/site/new
for n in $(seq {FILES}); do echo "old $n" > /srv/site/f$n; done
for n in $(seq 5); do echo "kept $n" > /srv/site/old/tree/inner/f$n; done
chmod 600 /srv/site/f1; chown 33:33 /srv/site/f2; ln -s f1 /srv/site/link
sync -f /srv"""
CLEAR = """rm -rf /srv/site/new/* /root/.local/state/tvmops/runs
find /srv/site -name '.tvmops-*' -delete; sync -f /srv"""
PLAYBOOK = f"""
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - copy: {{dest: "/srv/site/f{{{{ item }}}}", content: "new {{{{ item }}}}\\n", mode: "0640", owner: www-data}}
      loop: "{{{{ range(1, {FILES // 2}) | list }}}}"
    - file: {{path: /srv/site/old/tree, state: absent}}
    - file: {{path: /srv/site/link, state: link, src: f2}}
    - copy: {{dest: "/srv/site/new/f{{{{ item }}}}", content: "added\\n"}}
      loop: "{{{{ range(1, 10) | list }}}}"
    - lineinfile: {{path: "/srv/site/f{{{{ item }}}}", line: more}}
      loop: "{{{{ range({FILES // 2}, {FILES + 1}) | list }}}}"
"""


def wait_until(lab: Lab, script: str) -> None:
    """Wait until a script succeeds on the board, looking often."""
    loop = f"n=0; until {script}; do n=$((n + 1)); test $n -lt 1200; sleep 0.05; done"
    shell(lab, "r1", loop, timeout=120)


def test_a_run_cut_off_by_a_power_loss_is_undone(lab: Lab, tmp_path: Path) -> None:
    lab.up(["r1"], disk="700M")
    shell(lab, "r1", PREPARE)
    before = shell(lab, "r1", TREE)
    playbook = tmp_path / "site.yml"
    playbook.write_text(PLAYBOOK)
    generator = random.Random(f"{SEED} restore")
    arguments = ("--host", "r1")
    for _ in range(ROUNDS or 3):
        process = begin(lab, tmp_path, "playbook", str(playbook), *arguments)
        begun = f"test $(grep -l new /srv/site/f* | wc -l) -gt {generator.randrange(FILES // 2 - 2)}"
        wait_until(lab, begun)
        time.sleep(generator.uniform(0, 0.5))
        lab.fault("r1", "powerloss")
        lab.fault("r1", "poweron")
        finish(process, 0, 4, within=100)
        said = finish(begin(lab, tmp_path, "restore", *arguments, "--run", "last"), 0, within=100)
        assert "lost" not in said
        after = shell(lab, "r1", TREE)
        # What was added in the last moment the journal may not know; all that was there is as it was.
        added = [line for line in after.splitlines() if line not in before.splitlines()]
        assert all(re.search(r"(/srv/site|\.)/new/|\.tvmops-", line) for line in added), f"SEED={SEED}\n{added}"
        assert set(before.splitlines()) <= set(after.splitlines()), f"SEED={SEED}"
        assert "restored" in said, "nothing was to be undone: the power went too early"
        shell(lab, "r1", CLEAR)


def test_a_whole_run_is_undone(lab: Lab, tmp_path: Path) -> None:
    lab.up(["r1"], disk="700M")
    shell(lab, "r1", "rm -rf /srv/site /root/.local/state/tvmops/runs; " + PREPARE)
    before = shell(lab, "r1", TREE)
    commands = Commands(lab, tmp_path / "state")
    (tmp_path / "site.yml").write_text(PLAYBOOK)
    commands.on("playbook", str(tmp_path / "site.yml"), "--host", "r1")
    assert shell(lab, "r1", TREE) != before
    listed = commands.on("restore", "--host", "r1", "--list")
    assert f"site.yml by {os.environ.get('USER') or 'root'}@" in listed
    commands.on("restore", "--host", "r1", "--run", "last")
    assert shell(lab, "r1", TREE) == before
