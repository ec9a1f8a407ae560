"""Commands about stacks: stack.list, show, check, source, artifact; and the variables that provisioning needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import command
from tvmops.cli.stack_check import check
from tvmops.cli.stack_show import STACK_HELP, pythons, show, summary
from tvmops.cli.stack_source import source_

if TYPE_CHECKING:
    from tvmops.inventory.model import Host, Inventory

FACTS_AGE = 60.0  # seconds; an artifact chosen by older facts could be for the card that was in the board before


@command(name="list", help={"json_": "as JSON"})
def list_(ctx: Any, json_: bool = False) -> None:
    """Stacks with their TVM, API generation, Pythons, where their runtime comes from, and boards."""
    from tvmops.stack import load_stack, stack_names

    stacks = [load_stack(name) for name in stack_names()]
    if json_:
        print(json.dumps([summary(stack) for stack in stacks], indent=1))
        return
    rows = [("STACK", "API", "TVM", "PYTHON", "RUNTIME", "BOARDS")]
    rows += [
        (
            stack.name,
            stack.api,
            stack.version,
            pythons(stack),
            "built" if stack.is_built else "wheels",
            f"{', '.join(stack.architectures)}, glibc {stack.glibc}+",
        )
        for stack in stacks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)), row[5]]))


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
def artifact(
    ctx: Any,
    *,
    stack: str = "",
    arch: str = "x86_64",
    python: str = "3.11",
    part: str = "runtime",
    vars_: bool = False,
    json_: bool = False,
) -> None:
    """Make (or find) the runtime artifact for a kind of board."""
    from tvmops.errors import ConfigError
    from tvmops.source import did_you_mean
    from tvmops.stack import artifact_variables, ensure_artifact, load_stack
    from tvmops.stack.spec import stack_name

    found = load_stack(stack_name({}, stack))
    if vars_:
        print(json.dumps(artifact_variables(found, arch, python, on_progress=_progress), indent=1))
        return
    if part not in ("runtime", "baseline"):
        raise ConfigError(f"--part {part}: there is no such part", did_you_mean(part, ("runtime", "baseline")))
    made = ensure_artifact(found, arch, python, _progress, part="runtime" if part == "runtime" else "baseline")
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


def provision_variables(
    inventory: Inventory, hosts: Sequence[Host], options: Any, *, whole: bool = False
) -> Mapping[str, Mapping[str, Any]]:
    """The release variables of each host, from its facts and its tvm_stack; artifacts are made as needed.

    `whole`: never only what the releases that the host has now lack of its artifact.

    A host that the stack does not fit, or that gave no facts, gets tvmops_release_problem, which fails it alone: if it
    still cannot be reached in the run, that comes first. Raises ConfigError for a stack that does not exist.
    """
    from tvmops.errors import ConfigError, StackError
    from tvmops.fleet.facts import known_or_gathered
    from tvmops.fleet.shipping import own_prefix
    from tvmops.stack import load_stack, release_variables
    from tvmops.stack.board_shipping import lightened

    saved = getattr(options, "saved_facts", None)
    extra = dict(getattr(options, "extra_vars", None) or {})
    if {"tvmops_release_key", "tvmops_release_archive"} <= set(extra):
        return {}
    stacks = {host.name: load_stack(stack_of(host, extra)) for host in hosts}
    variables: dict[str, Mapping[str, Any]] = {}
    gathered = dict.fromkeys(stacks, saved) if saved else known_or_gathered(hosts, max_age=FACTS_AGE)
    for name, facts in gathered.items():
        try:
            if not isinstance(facts, dict):
                raise StackError(f"no runtime could be chosen, for lack of facts: {facts.message}", facts.hint)
            if saved:
                from tvmops.fleet.paper import release_on_paper

                found = release_on_paper(stacks[name], facts)
            else:
                host = next(one for one in hosts if one.name == name)
                found = release_variables(stacks[name], facts, _progress, board_vars={**host.vars, **extra})
                found = found if whole or own_prefix(host) else lightened(found, facts)
            variables[name] = {**found, "tvmops_release_tophub": list(stacks[name].tophub)}
        except (StackError, ConfigError) as error:
            variables[name] = {
                "tvmops_release_problem": f"{error.message}; {error.hint}" if error.hint else error.message
            }
    return variables


def stack_of(host: Host, extra: Mapping[str, Any]) -> str:
    """Name or path of the stack that provisioning brings to the host; extra variables are the strongest."""
    from tvmops.stack.spec import stack_name

    return stack_name(host.vars, str(extra.get("tvm_stack") or ""))


def _progress(text: str) -> None:
    if text.startswith(("fetching", "packing", "waiting")):
        print(text, file=sys.stderr)


COMMANDS = [list_, show, check, artifact, source_]
