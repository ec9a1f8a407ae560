"""docs/stacks.md shows what the stack files and the version table say."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tvmops.paths import project_root


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program that writes the page's tables."""
    spec = importlib.util.spec_from_file_location("stacks_page", project_root() / "tools" / "stacks_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    text = tool.PAGE.read_text(encoding="utf-8")
    assert text == tool.page(text), "run: python tools/stacks_page.py"
    assert "| v0.19.0 | 2025-01-19 | 3.18 | 3.18 | 3.20 |" in text


def test_a_page_without_a_mark_is_an_error(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="the mark 'stacks' stands there 0 times"):
        tool.page("no marks")
