"""The command stack.show: all that a stack says, and what its release of TVM needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import command

if TYPE_CHECKING:
    from tvmops.stack import Stack

STACK_HELP = "name of a stack (a file in stacks/ without its .yml), or a stack file"


@command(positional=["stack"], help={"stack": STACK_HELP, "json_": "as JSON"})
def show(ctx: Any, stack: str, json_: bool = False) -> None:
    """What a stack pins, where it comes from, how it is built, and where its environments are."""
    from tvmops.stack import environment_path, load_stack
    from tvmops.stack.environment import MARKER

    found = load_stack(stack)
    folder = environment_path(found)
    made = (folder / MARKER).exists()
    if json_:
        print(json.dumps({**_details(found), "environment": str(folder), "environment_made": made}, indent=1))
        return
    print(f"{found.name}: TVM {found.version} ({found.api}), Python {pythons(found)}")
    rows = [("boards", f"{', '.join(found.architectures)}; glibc {found.glibc} or newer")]
    rows += [("runtime", "built from a source below" if found.is_built else "made from wheels")]
    rows += [("environment", f"{folder}{'' if made else ' (not made yet: tvmops env.create)'}")]
    rows += [*_release_rows(found), *_source_rows(found), *_option_rows(found)]
    parts = {"runtime": found.runtime, "compile": found.compile, "baseline": found.baseline}
    rows += [(f"{name} pins", ", ".join(_with_marker(pin) for pin in pins)) for name, pins in parts.items() if pins]
    rows += [(f"extra {name}", ", ".join(_with_marker(pin) for pin in pins)) for name, pins in found.extras.items()]
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        print(f"  {label.ljust(width)}  {text}")


def summary(stack: Stack) -> dict[str, Any]:
    """A stack in a few fields, for lists and scripts."""
    return {
        "name": stack.name,
        "api": stack.api,
        "version": stack.version,
        "tag": stack.tag,
        "python": pythons(stack),
        "architectures": list(stack.architectures),
        "glibc": stack.glibc,
        "built": stack.is_built,
        "server": stack.server,
        "path": stack.path,
    }


def pythons(stack: Stack) -> str:
    """The Pythons that compile with the stack, as its file writes them."""
    return f">={stack.python_min},<{stack.python_below}"


def _details(stack: Stack) -> dict[str, Any]:
    from dataclasses import asdict

    from tvmops.stack.versions import release

    parts = {"runtime": stack.runtime, "compile": stack.compile, "baseline": stack.baseline, **stack.extras}
    return {
        **summary(stack),
        "sources": stack.sources,
        "options": stack.options,
        "tophub": list(stack.tophub),
        "board_packages": list(stack.board_packages),
        "pins": {name: [str(pin) for pin in pins] for name, pins in parts.items()},
        "release": asdict(release(stack.tag)) if stack.tag else None,
    }


def _release_rows(stack: Stack) -> list[tuple[str, str]]:
    from tvmops.stack.versions import release

    if not stack.tag:
        return []
    row = release(stack.tag)
    blocked = f" (not {', '.join(row.llvm_blocked)})" if row.llvm_blocked else ""
    pythons_text = f"{row.python_min} or newer" + (f", below {row.python_below}" if row.python_below else "")
    rows = [
        ("release", f"{row.tag} of {row.date}; {', '.join(row.features)}"),
        (
            "to compile",
            f"gcc {row.gcc_min}, C++{row.cxx_standard}, CMake {row.cmake_runtime} ({row.cmake_min} with LLVM)",
        ),
        ("LLVM", f"{row.llvm_min} to {row.llvm_max}{blocked}"),
        ("its Python", pythons_text),
        ("RPC", f"protocol {row.rpc_protocol or 'without a version'}; boards run the {stack.server} server"),
    ]
    rows += [("note", note) for note in row.notes]
    return rows


def _source_rows(stack: Stack) -> list[tuple[str, str]]:
    rows = []
    for number, (name, source) in enumerate(stack.sources.items()):
        kind = source["kind"]
        what = {
            "git": f"git {source.get('url')} {source.get('ref')} ({str(source.get('commit'))[:12]})",
            "archive": f"archive {source.get('url')}",
            "wheel": f"wheel {source.get('pin')}",
        }[kind]
        notes = ["the default"] if number == 0 else []
        notes += [] if source.get("complete") else ["the runtime only"]
        notes += [f"goes to {source['into']}"] if source.get("into") else []
        rows.append((f"source {name}", what + (f"; {', '.join(notes)}" if notes else "")))
    return rows


def _option_rows(stack: Stack) -> list[tuple[str, str]]:
    return [
        (f"options {target}", " ".join(f"{name}={value}" for name, value in options.items()))
        for target, options in stack.options.items()
    ]


def _with_marker(pin: Any) -> str:
    return str(pin) if pin.marker is None else f"{pin} (Python {pin.marker[0]}{pin.marker[1]})"
