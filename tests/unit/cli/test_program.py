"""The command tree: the themes that a command line needs, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tvmops.cli.program import GROUPS, TOP, build_namespace, themes_for

ALL_COMMANDS = sorted(build_namespace().task_names)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_every_command_is_found_by_its_name_alone(name: str) -> None:
    assert name in build_namespace([name, "--json"]).task_names
    assert len(themes_for([name])) == 1


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["--list"], ["--list=lab"], ["nonsense"], ["--complete", "--", "trust"]]
)
def test_all_commands_where_none_is_named(words: list[str]) -> None:
    assert sorted(build_namespace(words).task_names) == ALL_COMMANDS


def test_several_commands_on_one_line() -> None:
    names = build_namespace(["lab.up", "--boards", "2", "provision", "-i", "lab"]).task_names
    assert {"lab.up", "provision"} <= set(names)


def test_a_command_imports_no_other_theme() -> None:
    program = (
        "import sys; from tvmops.cli.program import build_namespace; build_namespace(['playbook', 'site.yml']);"
        "print(*(name for name in sys.modules if name.startswith('tvmops.cli.') or name in ('rich', 'sqlalchemy')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "tvmops.cli.provision" in loaded
    assert not loaded & {
        "rich",
        "sqlalchemy",
        *(f"tvmops.cli.{name}" for name in (*TOP, *GROUPS) if name != "provision"),
    }


@pytest.mark.parametrize("line", [["provsion"], ["lab.ps", "provsion"], ["--help", "provsion"]])
def test_an_unknown_command_is_named(line: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tvmops", *line], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert "there is no command 'provsion'" in done.stderr


def test_byte_code_is_kept_for_the_next_start(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    (tmp_path / "hosts.yml").write_text("all: {hosts: {one: {}}}\n")
    command = [sys.executable, "-m", "tvmops", "inventory.list", "-i", str(tmp_path / "hosts.yml")]
    subprocess.run(command, env=environment, timeout=60, check=True)
    assert list(tmp_path.rglob("inventory/yaml_source.*.pyc"))
