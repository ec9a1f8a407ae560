"""Names inside a template that can be checked before anything runs: filters, tests and lookups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import nodes

from tvmops.playbook.names import BUILTIN
from tvmops.source import did_you_mean

if TYPE_CHECKING:
    from tvmops.playbook.engine import CompileProblem, PlaybookEnvironment


def check_names(env: PlaybookEnvironment, tree: nodes.Template) -> None:
    """Raise CompileProblem for the first filter, test or lookup that does not exist."""
    for node in tree.find_all((nodes.Filter, nodes.Test, nodes.Call)):
        if isinstance(node, nodes.Call):
            _check_lookup(node)
            continue
        known = env.filters if isinstance(node, nodes.Filter) else env.tests
        kind = "filter" if isinstance(node, nodes.Filter) else "test"
        name = node.name  # type: ignore[attr-defined]
        if name in known:
            continue
        short = name.removeprefix(BUILTIN)
        if short != name and short in known:
            node.name = short  # type: ignore[attr-defined]
            continue
        raise _problem(f"there is no {kind} '{name}'", _hint(kind, name, known), node, name)


def _hint(kind: str, name: str, known: object) -> str:
    from tvmops.playbook import filters

    if kind == "filter" and name in filters.REFUSED:
        return filters.REFUSED[name]
    return did_you_mean(name, list(known))  # type: ignore[call-overload]


def _check_lookup(node: nodes.Call) -> None:
    from tvmops.playbook import lookups

    if not (isinstance(node.node, nodes.Name) and node.node.name in ("lookup", "query", "q") and node.args):
        return
    first = node.args[0]
    if not isinstance(first, nodes.Const):
        return
    name = str(first.value).removeprefix(BUILTIN)
    if name not in lookups.LOOKUPS:
        hint = lookups.REFUSED.get(name) or did_you_mean(name, lookups.LOOKUPS)
        raise _problem(f"there is no lookup '{name}'", hint, node, str(first.value))


def _problem(message: str, hint: str, node: nodes.Node, needle: str) -> CompileProblem:
    from tvmops.playbook.engine import CompileProblem

    return CompileProblem(f"template: {message}", hint, node.lineno, needle)
