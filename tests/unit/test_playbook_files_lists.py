"""Programs of several files: the playbooks name them one by one, and must name them all."""

from __future__ import annotations

import re

import pytest
from board_program import FILES, PROJECT


@pytest.mark.parametrize(
    ("tasks", "folder"),
    [("mirrors.yml", "mirror_probe"), ("power-program.yml", "power"), ("build-send.yml", "builder")],
)
def test_all_files_of_a_program_are_sent(tasks: str, folder: str) -> None:
    named = re.findall(r"\b\w+\.py\b", (PROJECT / "playbooks" / "tasks" / tasks).read_text())
    assert sorted(named) == sorted(path.name for path in (FILES / folder).glob("*.py"))
