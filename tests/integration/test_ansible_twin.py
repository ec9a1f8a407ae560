"""The same playbooks through tvmops and through a real ansible-playbook: same recap, same files."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import precedence
import pytest
from peers import ansible_program

from tvmops.fleet.recap import COUNTS, counts
from tvmops.fleet.run import run_playbook
from tvmops.inventory import load_inventory
from tvmops.playbook.state import RunOptions

HERE = Path(__file__).parent / "twin"


@pytest.fixture(scope="session")
def ansible_playbook() -> Path:
    """The real program."""
    return ansible_program()


def tree(root: Path) -> dict[str, object]:
    """Every path below `root` with its kind, mode and content."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", oct(stat.S_IMODE(status.st_mode)))
        else:
            text = path.read_text().replace(str(root), "ROOT")
            found[name] = (oct(stat.S_IMODE(status.st_mode)), text)
    return found


def with_ansible(program: Path, playbook: str, root: Path, options: list[str]) -> tuple[dict[str, int], int, str]:
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "TWIN_VARIABLE": "from the environment",
    }
    env |= {"ANSIBLE_HOME": str(root.parent / "ansible-home")}
    argv = [str(program), "-i", "inventory.yml", playbook, "-e", f"root={root}", *options]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(argv, cwd=HERE, env=env, capture_output=True, text=True, timeout=240, check=False)
    recap = re.search(r"^twin\s*: (.*)$", done.stdout, re.MULTILINE)
    assert recap, done.stdout + done.stderr
    numbers = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", recap.group(1))}
    return numbers, done.returncode, done.stdout


def with_tvmops(
    playbook: str, root: Path, monkeypatch: pytest.MonkeyPatch, state: Path, options: dict[str, Any]
) -> tuple[dict[str, int], int]:
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("TVMOPS_STATE", str(state))
    monkeypatch.setenv("TWIN_VARIABLE", "from the environment")
    inventory = load_inventory([Path("inventory.yml")], playbook_dir=HERE)
    extra = {"root": str(root), **options.pop("extra_vars", {})}
    recap = run_playbook([playbook], inventory, RunOptions(extra_vars=extra, **options))
    return counts(recap.hosts["twin"]), recap.exit_code


def words(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


FAILING = ("failing", "undefined", "not boolean")
CASES: dict[str, tuple[str, list[str], dict[str, object]]] = {
    "precedence": ("precedence.yml", ["-e", '{"extra": "extra"}'], {"extra_vars": {"extra": "extra"}}),
    "language": ("language.yml", [], {}),
    "failing": ("failing.yml", [], {}),
    "undefined": ("undefined.yml", [], {}),
    "conditions": ("conditions.yml", [], {}),
    "not boolean": ("notbool.yml", [], {}),
    "filters": ("filters.yml", [], {}),
    "roles": ("roles.yml", [], {}),
    "tags of includes": ("roles.yml", ["--tags", "applied,second"], {"tags": words("applied,second")}),
    "roles without tags": ("roles.yml", ["--skip-tags", "web"], {"skip_tags": words("web")}),
    "all tags": ("tags.yml", [], {}),
    "tags": ("tags.yml", ["--tags", "one,three,imported"], {"tags": words("one,three,imported")}),
    "inner tags": ("tags.yml", ["--tags", "one,inner"], {"tags": words("one,inner")}),
    "skip tags": ("tags.yml", ["--skip-tags", "two,always,play"], {"skip_tags": words("two,always,play")}),
    "untagged": ("tags.yml", ["--tags", "untagged"], {"tags": words("untagged")}),
    "tagged": ("tags.yml", ["--tags", "tagged"], {"tags": words("tagged")}),
    "facts of packages and services": ("facts.yml", [], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_same_recap_and_files(
    case: str, ansible_playbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    playbook, options, ours = CASES[case]
    roots = [tmp_path / "ansible" / "root", tmp_path / "tvmops" / "root"]
    for root in roots:
        root.mkdir(parents=True)
    expected, rc, output = with_ansible(ansible_playbook, playbook, roots[0], options)
    numbers, code = with_tvmops(playbook, roots[1], monkeypatch, tmp_path / "state", dict(ours))
    assert tree(roots[1]) == tree(roots[0])
    assert {name: numbers[name] for name in COUNTS} == {name: expected[name] for name in COUNTS}, output
    assert code == rc == (2 if case in FAILING else 0), output


def test_each_finds_unchanged_what_the_other_has_made(
    ansible_playbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with_ansible(ansible_playbook, "filters.yml", root, [])
    numbers, _ = with_tvmops("filters.yml", root, monkeypatch, tmp_path / "state", {})
    assert numbers["changed"] == 0
    with_tvmops("precedence.yml", root, monkeypatch, tmp_path / "state", {})
    expected, _, output = with_ansible(ansible_playbook, "precedence.yml", root, [])
    assert expected["changed"] == 1, output  # the command that always counts as a change


def test_the_table_of_precedence(ansible_playbook: Path, tmp_path: Path) -> None:
    inventory, playbook, extra = precedence.write(tmp_path)
    given = {"root": str(tmp_path), "ansible_python_interpreter": sys.executable, **extra}
    argv = [str(ansible_playbook), "-i", str(inventory), str(playbook), "-e", json.dumps(given)]
    env = {**os.environ, "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path / "ansible-home")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results").read_text())
    assert {pair: found[precedence.variable(pair)] for pair in precedence.PAIRS} == {
        pair: precedence.expected(pair) for pair in precedence.PAIRS
    }
    assert found[precedence.REGISTERED] == "registered vars"
