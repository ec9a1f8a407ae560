"""Pictures and labels that a task's settings name: on this machine, on the web, or in a wheel."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..models.pinned import is_file, pinned_file
from .common import setting


def open_picture(settings: Dict[str, Any], cache_dir: Path) -> Any:
    """The task's `image`, in RGB. Raises JobError: BadInput, Download."""
    from PIL import Image

    path = pinned_file(setting(settings, "image"), f"'image' of task '{settings.get('kind')}'", cache_dir)
    try:
        with Image.open(str(path)) as picture:
            return picture.convert("RGB")
    except Exception as error:
        raise JobError("BadInput", f"{path.name} is no picture that can be read: {error}") from error


def read_labels(settings: Dict[str, Any], cache_dir: Path) -> Dict[str, str]:
    """The task's `labels` by class number (as text, for JSON): given in the workload, or in a file.

    A file holds JSON, a dict as Python prints it, or one label a line. Raises JobError: BadInput, Download.
    """
    given = settings.get("labels") or {}
    if is_file(given):
        path = pinned_file(given, f"'labels' of task '{settings.get('kind')}'", cache_dir)
        given = parse_labels(path.read_text(encoding="utf-8", errors="replace"), path.name)
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict):
        raise JobError("BadInput", f"'labels' of task '{settings.get('kind')}' must be a mapping, a list or a file")
    return {str(key): str(name) for key, name in given.items()}


def parse_labels(text: str, name: str) -> Any:
    """A dict or a list. A line that begins with WordNet's number of the class (n02123045) is shown without it."""
    start = text.lstrip()[:1]
    if start in ("{", "["):
        for read in (json.loads, ast.literal_eval):
            try:
                return read(text.strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
        raise JobError("BadInput", f"{name} begins as JSON or a Python dict and is neither")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise JobError("BadInput", f"{name} has no labels")
    return [_without_number(line) for line in lines]


def _without_number(line: str) -> str:
    first, _, rest = line.partition(" ")
    numbered = len(first) == 9 and first[0] == "n" and first[1:].isdigit()
    return rest.strip() if numbered and rest.strip() else line
