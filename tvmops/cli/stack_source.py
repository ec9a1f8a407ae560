"""The command stack.source: fetch what a stack is compiled from, and say what it is."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import command

if TYPE_CHECKING:
    from tvmops.stack.sources import SourceTree

SOURCE_HELP = "a source of the stack, or a folder, archive, git repository or bundle, or a URL (docs/sources.md)"
SHA256_HELP = "SHA-256 of an archive that the stack does not pin"
MIRROR_HELP = "FROM=TO: URLs that begin with FROM, submodules' too, are fetched from TO; can be repeated"


@command(
    name="source",
    iterable=["mirror"],
    help={
        "stack": "name of a stack (a file in stacks/ without its .yml), or a stack file",
        "source": SOURCE_HELP,
        "sha256": SHA256_HELP,
        "mirror": MIRROR_HELP,
        "json_": "as JSON",
    },
)
def source_(
    ctx: Any,
    *,
    stack: str = "relay-0.19",
    source: str | None = None,
    sha256: str = "",
    mirror: list[str] | None = None,
    json_: bool = False,
) -> None:
    """Fetch the source tree of a stack, verify it, and say what it is."""
    from tvmops.stack import load_stack
    from tvmops.stack.sources import fetch_source, parse_mirrors

    try:
        tree = fetch_source(load_stack(stack), source, _progress, sha256=sha256, mirrors=parse_mirrors(mirror or ()))
    finally:
        _clear()
    if json_:
        details = {**asdict(tree), "folder": str(tree.folder), "archive": str(tree.archive)}
        print(json.dumps(details, indent=1))
        return
    _show(tree)


def _show(tree: SourceTree) -> None:
    builds = "the compiler and the runtime" if tree.complete else "the runtime only"
    rows = [
        ("origin", tree.origin),
        ("folder", str(tree.folder)),
        ("archive", f"{tree.archive} ({tree.packed / 1e6:.1f} MB)"),
        ("holds", f"{tree.files} files, {tree.size / 1e6:.1f} MB; builds {builds}"),
        ("commit", tree.commit or "unknown: not from git"),
    ]
    rows += [("submodule", f"{path} at {commit[:12]}") for path, commit in sorted(tree.submodules.items())]
    if tree.absent:
        rows.append(("without", ", ".join(tree.absent)))
    rows += [("note", note) for note in tree.notes]
    print(tree.identity)
    for label, text in rows:
        print(f"  {label:<9}  {text}")


def _progress(text: str) -> None:
    """One line on a terminal; otherwise only what begins something, so that logs stay short."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:110]}", end="", file=sys.stderr, flush=True)
    elif text.startswith(("fetching", "unpacking", "packing", "waiting", "the connection")) and not text.endswith(
        " MB"
    ):
        print(text, file=sys.stderr)


def _clear() -> None:
    """Take the line of progress away: what comes next begins a line of its own."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
