"""Which filters, tests and methods give the same on a board, with its Python, as they do here."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import nodes

from tvmops.agent.expression_filters import FILTERS
from tvmops.agent.expression_scalars import METHODS
from tvmops.agent.expression_tests import TESTS
from tvmops.playbook.undefined import Missing

# `value.count` is the method of a text or list where a value has one, whatever keys there may be.
ATTRIBUTE_NAMES = frozenset(
    name for kind in (dict, list, tuple, str, int, float, bool, type(None), Missing) for name in dir(kind)
) | {"fault"}
COMPARISONS = {
    "eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<=", "in": "in", "notin": "not in",
}  # fmt: skip
OPERATORS: dict[type[nodes.BinExpr], str] = {
    nodes.Add: "+", nodes.Sub: "-", nodes.Mul: "*", nodes.Div: "/", nodes.FloorDiv: "//", nodes.Mod: "%",
}  # fmt: skip

# Possessive quantifiers and atomic groups are newer than some boards' Python, flags of a part too; flags in the
# middle became an error.
_NEWER = re.compile(r"[*+?}]\+|\(\?>|\(\?[a-zA-Z]*-?[a-zA-Z]*:(?<!\(\?:)|(?<!^)\(\?[a-zA-Z]+\)|\\N\{")
_PATTERNS = ("match", "search", "regex", "regex_search")

Arguments = Sequence[list[Any]]
Named = Mapping[str, list[Any]]


def literal(value: Any) -> list[Any] | None:
    """An expression for a value that is known here, or None when it would not be the same on a board."""
    kind = type(value)
    if value is None or kind in (bool, int) or (kind is float and math.isfinite(value)):
        return ["lit", value]
    if isinstance(value, str):
        text = str(value)
        return ["lit", text] if not any("\ud800" <= one <= "\udfff" for one in text) else None
    if kind is tuple or isinstance(value, list):
        parts = [literal(one) for one in value]
        return None if None in parts else ["tuple" if kind is tuple else "list", parts]
    if isinstance(value, dict):
        pairs = [[literal(key), literal(one)] for key, one in value.items()]
        return None if any(None in pair for pair in pairs) else ["dict", pairs]
    return None


def filter_problem(name: str, arguments: Arguments, named: Named) -> bool:
    """True when a filter with these arguments (expressions) cannot be left to a board."""
    if name not in FILTERS or not _accepts(FILTERS[name], arguments, named):
        return True
    special = _SPECIAL.get(name)
    return special is not None and special(arguments, named)


def test_problem(name: str, arguments: Arguments, named: Named) -> bool:
    """True when a test with these arguments cannot be left to a board."""
    if name not in TESTS or not _accepts(TESTS[name], arguments, named):
        return True
    return name in _PATTERNS and _pattern_problem(arguments, named)


def method_problem(name: str) -> bool:
    """True when calls of a method cannot be left to a board."""
    return name not in METHODS


def _accepts(function: Any, arguments: Arguments, named: Named) -> bool:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a type of Python's own (str, list): its filter takes the value alone
        return not arguments and not named
    try:
        signature.bind(None, *arguments, **named)
    except TypeError:
        return False
    return True


def _literal(expression: list[Any] | None) -> Any:
    """The literal text of an argument, or None."""
    return expression[1] if expression is not None and expression[0] == "lit" else None


def _pattern_problem(arguments: Arguments, named: Named) -> bool:
    pattern = _literal(arguments[0] if arguments else named.get("pattern"))
    if not isinstance(pattern, str) or _NEWER.search(pattern):
        return True
    try:
        re.compile(pattern)
    except re.error:
        return True
    return False


def _attribute_problem(expression: list[Any] | None) -> bool:
    """True when an attribute to look up is not certain, or may be a method's name."""
    if expression is None:
        return False
    attribute = _literal(expression)
    if isinstance(attribute, int) and not isinstance(attribute, bool):
        return False
    if not isinstance(attribute, str):
        return True
    return any(part in ATTRIBUTE_NAMES for name in attribute.split(",") for part in name.split("."))


def _of_map(arguments: Arguments, named: Named) -> bool:
    if not arguments:
        return "attribute" not in named or _attribute_problem(named["attribute"])
    name = _literal(arguments[0])
    return not isinstance(name, str) or filter_problem(name, arguments[1:], named)


def _of_select(arguments: Arguments, named: Named) -> bool:
    if not arguments:
        return bool(named)
    name = _literal(arguments[0])
    return not isinstance(name, str) or test_problem(name, arguments[1:], named)


def _of_selectattr(arguments: Arguments, named: Named) -> bool:
    return not arguments or _attribute_problem(arguments[0]) or _of_select(arguments[1:], named)


def _attribute_at(place: int) -> Callable[[Arguments, Named], bool]:
    def problem(arguments: Arguments, named: Named) -> bool:
        return _attribute_problem(arguments[place] if len(arguments) > place else named.get("attribute"))

    return problem


_SPECIAL: dict[str, Callable[[Arguments, Named], bool]] = {
    "map": _of_map,
    "select": _of_select,
    "reject": _of_select,
    "selectattr": _of_selectattr,
    "rejectattr": _of_selectattr,
    "join": _attribute_at(1),
    "min": _attribute_at(1),
    "max": _attribute_at(1),
    "sort": _attribute_at(2),
    "regex_search": _pattern_problem,
}
