"""Results' diffs as text, in the form of patches."""

from __future__ import annotations

import difflib
from typing import Any


def diff_text(result: dict[str, Any]) -> str:
    """All diffs of one result, of its loop items excepted (those have events of their own)."""
    diffs = result.get("diff")
    parts = diffs if isinstance(diffs, list) else [diffs] if isinstance(diffs, dict) else []
    return "".join(_one(part) for part in parts if isinstance(part, dict))


def _one(diff: dict[str, Any]) -> str:
    if diff.get("prepared"):
        text = str(diff["prepared"])
        return text if text.endswith("\n") else text + "\n"
    before, after = _text(diff.get("before")), _text(diff.get("after"))
    if before == after:
        return ""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"before: {diff.get('before_header') or ''}".rstrip(": "),
        f"after: {diff.get('after_header') or ''}".rstrip(": "),
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return "".join(f"{key}: {one}\n" for key, one in value.items())
    return str(value)
