"""docs/language.md says what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tvmops.paths import project_root
from tvmops.playbook import keywords

# Not every task has these.
SOMETIMES = {"ansible_loop", "ansible_loop_var", "omit"}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program that writes the page."""
    path: Path = project_root() / "tools" / "language_page.py"
    spec = importlib.util.spec_from_file_location("language_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), "run: python tools/language_page.py"


def test_every_keyword_has_its_meaning(tool: ModuleType) -> None:
    known = {word for words in tool.WHERE.values() for word in words}
    assert set(keywords.MEANINGS) == known


def test_every_magic_variable_is_described(tool: ModuleType) -> None:
    assert tool.magic_names() | SOMETIMES == set(tool.MAGIC)
