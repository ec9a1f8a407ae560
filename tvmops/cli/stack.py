"""Commands about stacks: stack.list, stack.show, stack.bundle; and the variables that provisioning gets from them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import command

if TYPE_CHECKING:
    from tvmops.inventory.model import Host, Inventory
    from tvmops.stack import Stack

STACK_HELP = "name of a stack (a file in stacks/ without its .yml), or a stack file"
DEFAULT_STACK = "relax-0.27"
FACTS_AGE = 60.0  # seconds; a bundle chosen by older facts could be for the card that was in the board before


@command(name="list", help={"json_": "as JSON"})
def list_(ctx: Any, json_: bool = False) -> None:
    """Stacks with their TVM, API generation, Pythons and boards."""
    from tvmops.stack import load_stack, stack_names

    stacks = [load_stack(name) for name in stack_names()]
    if json_:
        print(json.dumps([_summary(stack) for stack in stacks], indent=1))
        return
    rows = [("STACK", "API", "TVM", "PYTHON", "BOARDS")]
    rows += [
        (
            stack.name,
            stack.api,
            stack.version,
            _pythons(stack),
            f"{', '.join(stack.architectures)}, glibc {stack.glibc}+",
        )
        for stack in stacks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]))


@command(positional=["stack"], help={"stack": STACK_HELP, "json_": "as JSON"})
def show(ctx: Any, stack: str = DEFAULT_STACK, json_: bool = False) -> None:
    """What a stack pins, and where its environments are."""
    from tvmops.stack import environment_path, load_stack
    from tvmops.stack.environment import MARKER

    found = load_stack(stack)
    folder = environment_path(found)
    made = (folder / MARKER).exists()
    if json_:
        details = {**_summary(found), "environment": str(folder), "environment_made": made}
        parts = {"runtime": found.runtime, "compile": found.compile, "baseline": found.baseline, **found.extras}
        details["pins"] = {name: [str(pin) for pin in pins] for name, pins in parts.items()}
        print(json.dumps(details, indent=1))
        return
    print(f"{found.name}: TVM {found.version} ({found.api}), Python {_pythons(found)}")
    print(f"  boards       {', '.join(found.architectures)}; glibc {found.glibc} or newer")
    print(f"  environment  {folder}{'' if made else ' (not made yet: tvmops env.create)'}")
    for label, pins in (("runtime", found.runtime), ("compile", found.compile), ("baseline", found.baseline)):
        print(f"  {label:<11}  {', '.join(_with_marker(pin) for pin in pins)}")
    for name, pins in found.extras.items():
        print(f"  extra {name:<6} {', '.join(_with_marker(pin) for pin in pins)}")


@command(
    help={
        "stack": STACK_HELP,
        "arch": "the board's architecture, as uname -m prints it: x86_64 or aarch64",
        "python": "the board's Python, e.g. 3.11",
        "part": "runtime, or baseline: ONNX Runtime to compare with",
        "vars_": "print the variables that ansible-playbook needs for playbooks/provision.yml, as JSON",
        "json_": "key, path, sizes and packages as JSON",
    }
)
def bundle(
    ctx: Any,
    *,
    stack: str = DEFAULT_STACK,
    arch: str = "x86_64",
    python: str = "3.11",
    part: str = "runtime",
    vars_: bool = False,
    json_: bool = False,
) -> None:
    """Make (or find) the runtime bundle for a kind of board."""
    from tvmops.errors import ConfigError
    from tvmops.source import did_you_mean
    from tvmops.stack import bundle_variables, ensure_bundle, load_stack

    found = load_stack(stack)
    if vars_:
        print(json.dumps(bundle_variables(found, arch, python, on_progress=_progress), indent=1))
        return
    if part not in ("runtime", "baseline"):
        raise ConfigError(f"--part {part}: there is no such part", did_you_mean(part, ("runtime", "baseline")))
    made = ensure_bundle(found, arch, python, _progress, part="runtime" if part == "runtime" else "baseline")
    if json_:
        details = {name: value for name, value in made.manifest.items() if name != "files"}
        details |= {"key": made.key, "path": str(made.path), "size": made.size, "unpacked_size": made.unpacked_size}
        print(json.dumps(details, indent=1))
        return
    print(
        f"{made.key}  {made.path}\n"
        f"  TVM {made.manifest['tvm']} for {arch}, Python {python}, glibc {made.manifest['glibc']} or newer\n"
        f"  {made.size / 1e6:.1f} MB packed, {made.unpacked_size / 1e6:.1f} MB on the board, "
        f"{len(made.manifest['files'])} files"
    )


def provision_variables(inventory: Inventory, hosts: Sequence[Host], options: Any) -> Mapping[str, Mapping[str, Any]]:
    """The release variables of each host, from its facts and its tvm_stack; bundles are made as needed.

    A host that the stack does not fit, or that gave no facts, gets tvmops_release_problem, which fails it alone: if it
    still cannot be reached in the run, that comes first. Raises ConfigError for a stack that does not exist.
    """
    from tvmops.errors import StackError
    from tvmops.fleet.facts import known_or_gathered
    from tvmops.stack import load_stack, release_variables

    extra = dict(getattr(options, "extra_vars", None) or {})
    if {"tvmops_release_key", "tvmops_release_archive"} <= set(extra):
        return {}
    stacks = {host.name: load_stack(_stack_name(host, extra)) for host in hosts}
    variables: dict[str, Mapping[str, Any]] = {}
    for name, facts in known_or_gathered(hosts, max_age=FACTS_AGE).items():
        try:
            if not isinstance(facts, dict):
                raise StackError(f"no runtime could be chosen, for lack of facts: {facts.message}", facts.hint)
            variables[name] = release_variables(stacks[name], facts, _progress)
        except StackError as error:
            variables[name] = {
                "tvmops_release_problem": f"{error.message}; {error.hint}" if error.hint else error.message
            }
    return variables


def _stack_name(host: Host, extra: Mapping[str, Any]) -> str:
    return str(extra.get("tvm_stack") or host.vars.get("tvm_stack") or DEFAULT_STACK)


def _progress(text: str) -> None:
    if text.startswith(("fetching", "packing", "waiting")):
        print(text, file=sys.stderr)


def _summary(stack: Stack) -> dict[str, Any]:
    return {
        "name": stack.name,
        "api": stack.api,
        "version": stack.version,
        "python": _pythons(stack),
        "architectures": list(stack.architectures),
        "glibc": stack.glibc,
        "path": stack.path,
    }


def _pythons(stack: Stack) -> str:
    return f">={stack.python_min},<{stack.python_below}"


def _with_marker(pin: Any) -> str:
    return str(pin) if pin.marker is None else f"{pin} (Python {pin.marker[0]}{pin.marker[1]})"


COMMANDS = [list_, show, bundle]
