"""How plays run, on one host and on four, under tvmops and under a real ansible-playbook: same recaps, same files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peers import ansible_program
from test_ansible_twin import tree

from tvmops.fleet.recap import COUNTS, counts
from tvmops.fleet.run import run_playbook
from tvmops.inventory import load_inventory
from tvmops.playbook.state import RunOptions

HERE = Path(__file__).parent / "twin" / "running"
FOUR = "all"
ONE = "h1"
Counts = dict[str, dict[str, int]]
NOTHING = dict.fromkeys(COUNTS, 0)

# name: (playbook, --limit, options of ansible-playbook, RunOptions)
CASES: dict[str, tuple[str, str, list[str], dict[str, Any]]] = {
    "blocks": ("blocks.yml", ONE, [], {}),
    "handlers": ("handlers.yml", ONE, [], {}),
    "loops": ("loops.yml", ONE, [], {}),
    "run_once and delegation": ("once.yml", FOUR, [], {}),
    "run_once that fails": ("once2.yml", FOUR, [], {}),
    "serial": ("serial.yml", FOUR, [], {}),
    "any_errors_fatal": ("fatal.yml", FOUR, [], {}),
    "ends of plays": ("endplay.yml", FOUR, [], {}),
    "failures forgiven": ("clear.yml", FOUR, [], {}),
    "modules of the controller": ("actions.yml", FOUR, [], {}),
    "facts, roles and order": ("more.yml", FOUR, [], {}),
    "forced handlers": ("more.yml", FOUR, ["--force-handlers"], {"force_handlers": True}),
    "from a task on": ("more.yml", FOUR, ["--start-at-task", "begin h*"], {"start_at": "begin h*"}),
}


def with_ansible(playbook: str, root: Path, limit: str, options: list[str]) -> tuple[Counts, int, str]:
    env = {**os.environ, "ANSIBLE_CONFIG": str(HERE.parent / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    env["ANSIBLE_HOME"] = str(root.parent / "ansible-home")
    argv = [str(ansible_program()), "-i", "hosts.yml", playbook, "-e", f"root={root}", "--limit", limit, *options]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(argv, cwd=HERE, env=env, capture_output=True, text=True, timeout=600, check=False)
    found = re.findall(r"^(\w+)\s*: (ok=.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    numbers = {host: {name: int(one) for name, one in re.findall(r"(\w+)=(\d+)", line)} for host, line in found}
    return {host: {name: one[name] for name in COUNTS} for host, one in numbers.items()}, done.returncode, done.stdout


def without_place(files: dict[str, Any], root: Path) -> dict[str, Any]:
    """Paths below `root` that have its own path in them are the same wherever it is."""
    inside = str(root).lstrip("/")
    parents = {inside[:end] for end in (index for index, sign in enumerate(inside) if sign == "/")}
    found = {}
    for name, one in files.items():
        host, _, rest = name.removeprefix("fetched/").partition("/")
        if name.startswith("fetched/") and (rest in parents or rest == inside):
            continue
        found[f"fetched/{host}/ROOT{rest.removeprefix(inside)}" if rest.startswith(inside) else name] = one
    return found


@pytest.mark.parametrize("case", CASES)
def test_same_recaps_and_files(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playbook, limit, options, ours = CASES[case]
    roots = [tmp_path / "a" / "root", tmp_path / "t" / "root"]
    for root in roots:
        root.mkdir(parents=True)
    expected, rc, output = with_ansible(playbook, roots[0], limit, options)
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))
    inventory = load_inventory([Path("hosts.yml")], playbook_dir=HERE)
    recap = run_playbook([playbook], inventory, RunOptions(limit=limit, extra_vars={"root": str(roots[1])}, **ours))
    numbers = {host: counts(one) for host, one in recap.hosts.items()}

    def files(root: Path) -> dict[str, Any]:
        return without_place(tree(root), root)

    assert files(roots[1]) == files(roots[0]), output
    # Ansible leaves hosts out that came to nothing.
    assert {**dict.fromkeys(numbers, NOTHING), **expected} == numbers, output
    assert recap.exit_code == rc, output
