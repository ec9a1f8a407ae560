"""The command stack.check: which stacks boards can hold and build, why not, and what would help."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select
from tvmops.cli.warming import WARM_HELP, use_warm

if TYPE_CHECKING:
    from tvmops.stack import Stack
    from tvmops.stack.board import Finding
    from tvmops.stack.fit import Fit

FACTS_AGE = 3600.0  # seconds


@command(
    help={
        "inventory": INVENTORY_HELP,
        "host": HOST_HELP,
        "stack": "this stack alone; a board that it does not fit makes the command fail",
        "json_": "as JSON",
        "refresh": "ask the boards even when their facts are known and younger than an hour",
        "warm": WARM_HELP,
    },
    optional=["warm"],
)
def check(  # noqa: PLR0917
    ctx: Any,
    host: str,
    inventory: str | None = None,
    stack: str | None = None,
    json_: bool = False,
    refresh: bool = False,
    warm: bool | str = False,
) -> None:
    """Which stacks boards can hold, why not, and what would help."""
    from tvmops.errors import StackError, TvmopsError
    from tvmops.fleet.facts import known_or_gathered
    from tvmops.stack import load_stack, stack_names
    from tvmops.stack.fit import judge

    stacks = [load_stack(stack)] if stack else [load_stack(name) for name in stack_names()]
    use_warm(warm)
    hosts = select(load(inventory), host)
    gathered = known_or_gathered(hosts, max_age=-1.0 if refresh else FACTS_AGE)
    answers: dict[str, list[Fit]] = {}
    errors: list[TvmopsError] = []
    for one in hosts:
        found = gathered[one.name]
        if isinstance(found, TvmopsError):
            errors.append(found)
            continue
        answers[one.name] = [judge(each, found) for each in stacks]
        if not json_:
            _print_host(one.name, found, answers[one.name])
    if json_:
        print(json.dumps({name: [_as_json(fit) for fit in fits] for name, fits in answers.items()}, indent=1))
    for error in errors[1:]:
        print(f"tvmops: {error}", file=sys.stderr)
    if errors:
        raise errors[0]
    refused = [name for name, fits in answers.items() if stack and not all(fit.fits for fit in fits)]
    if refused:
        reasons = "; ".join(finding.text for finding in answers[refused[0]][0].reasons)
        raise StackError(f"stack {stacks[0].name} does not fit {', '.join(refused)}: {reasons}", _others(stacks[0]))


def _others(stack: Stack) -> str:
    return f"see what does: the same command without --stack {stack.name}"


def _print_host(name: str, facts: Mapping[str, Any], fits: list[Fit]) -> None:
    from tvmops.stack import board_architecture

    system = f"{facts.get('ansible_distribution', '?')} {facts.get('ansible_distribution_version', '')}".strip()
    described = [board_architecture(facts) or "?", system, f"glibc {facts.get('tvmops_glibc') or '?'}"]
    memory = facts.get("ansible_memtotal_mb")
    described += [f"Python {facts.get('ansible_python_version', '?')}", f"{memory} MB" if memory else "memory unknown"]
    print(f"{name}  ({', '.join(described)})")
    width = max(len(fit.stack.name) for fit in fits)
    for fit in fits:
        lines = _lines(fit)
        print(f"  {fit.stack.name.ljust(width)}  {lines[0]}")
        for line in lines[1:]:
            print(f"  {' ' * width}  {line}")


def _lines(fit: Fit) -> list[str]:
    if not fit.fits:
        return [f"no   {_text(fit.reasons[0])}", *(f"     {_text(finding)}" for finding in fit.reasons[1:])]
    if not fit.stack.is_built:
        return ["yes  from wheels"]
    able = [target for target, findings in fit.against_building.items() if not findings]
    lines = ["yes  built elsewhere" + (f", or on the board itself ({', '.join(able)})" if able else "")]
    lines += [f"     {fit.cross}"] if fit.cross else []
    told: set[str] = set()
    for target, findings in fit.against_building.items():
        for finding in findings:
            if finding.text not in told:
                lines.append(f"     on the board itself, {target}: {_text(finding)}")
            told.add(finding.text)
    return lines


def _text(finding: Finding) -> str:
    return f"{finding.text} -> {finding.help}" if finding.help else finding.text


def _as_json(fit: Fit) -> dict[str, Any]:
    def listed(findings: list[Finding]) -> list[dict[str, str]]:
        return [{"reason": finding.text, "help": finding.help} for finding in findings]

    return {
        "stack": fit.stack.name,
        "fits": fit.fits,
        "reasons": listed(fit.reasons),
        "built": fit.stack.is_built,
        "against_building": {target: listed(findings) for target, findings in fit.against_building.items()},
        "cross": fit.cross,
    }
