"""Writes the tables of docs/stacks.md from stacks/*.yml; the text around them stays as it is.

python tools/stacks_page.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tvmops.stack import load_stack, stack_names
from tvmops.stack.versions import Release, releases

PAGE = Path(__file__).resolve().parent.parent / "docs" / "stacks.md"
FEATURES = ("relay", "relax", "autotvm", "tophub", "vta", "cpp_rpc", "micro")


def page(text: str) -> str:
    """`text`, with the tables between its marks made anew."""
    for name, table in (("stacks", stacks_table()), ("versions", versions_table()), ("tophub", tophub_table())):
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, table=table: f"{match[1]}\n{table}\n{match[2]}", text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{PAGE}: the mark '{name}' stands there {found} times")
    return text


def stacks_table() -> str:
    """One line for each stack."""
    rows = []
    for stack in map(load_stack, stack_names()):
        made = (
            "wheels"
            if not stack.is_built
            else ", ".join(f"{name} ({one['kind']})" for name, one in stack.sources.items())
        )
        python = f"{stack.python_min} to below {stack.python_below}"
        boards = f"{', '.join(stack.architectures)}; glibc {stack.glibc}+"
        rows.append([f"`{stack.name}`", stack.api, stack.version, python, made, stack.server, boards])
    return _table(["stack", "API", "TVM", "Python that compiles", "runtime from", "server", "boards"], rows)


def versions_table() -> str:
    """One line for each release of TVM."""
    head = ["release", "date", "CMake says", "runtime", "with LLVM", "C++", "gcc", "Python", "LLVM", "not LLVM", "RPC"]
    rows = [_figures(row) for row in releases()]
    features = [
        [row.tag, *("x" if row.has(name) else "" for name in FEATURES), "x" if row.branch_too else ""]
        for row in releases()
    ]
    notes = [f"- {row.tag}: {note}\n" for row in releases() for note in row.notes]
    second = _table(["release", *FEATURES, "also a branch"], features)
    return f"{_table(head, rows)}\n{second}\n{''.join(notes)}"


def tophub_table() -> str:
    """Which tophub files releases want; equal sets in one line."""
    sets: dict[tuple[str, ...], list[str]] = {}
    for row in releases():
        if row.tophub:
            sets.setdefault(row.tophub, []).append(row.tag)
    rows = [
        [
            tags[0] if len(tags) == 1 else f"{tags[0]} to {tags[-1]}",
            ", ".join(name.removesuffix(".log") for name in files),
        ]
        for files, tags in sets.items()
    ]
    return _table(["releases", "files (`.log`)"], rows)


def _figures(row: Release) -> list[str]:
    python = f"{row.python_min}+" if not row.python_below else f"{row.python_min} to below {row.python_below}"
    cmake = [row.cmake_declared, row.cmake_runtime, row.cmake_min]
    llvm = f"{row.llvm_min} to {row.llvm_max}"
    rest = [", ".join(row.llvm_blocked), row.rpc_protocol or "none"]
    return [row.tag, row.date, *cmake, str(row.cxx_standard), row.gcc_min, python, llvm, *rest]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
