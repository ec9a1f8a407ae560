"""Ansible's tests (`x is changed`, `v is version('1.2', '>=')`). TESTS is the registry."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

from tvmops.playbook.undefined import Missing


def _result(value: Any, test: str) -> Mapping[str, Any]:
    if isinstance(value, Missing):
        value._used()
    if not isinstance(value, Mapping):
        raise jinja2.TemplateRuntimeError(f"'is {test}' wants a task's registered result, not {type(value).__name__}")
    return value


def failed(value: Any) -> bool:
    """The task failed."""
    return bool(_result(value, "failed").get("failed", False))


def succeeded(value: Any) -> bool:
    """The task did not fail."""
    return not failed(value)


def changed(value: Any) -> bool:
    """The task, or one of its items, changed something."""
    result = _result(value, "changed")
    if "changed" not in result and isinstance(result.get("results"), list):
        return any(bool(one.get("changed")) for one in result["results"])
    return bool(result.get("changed", False))


def skipped(value: Any) -> bool:
    """The task did not run."""
    return bool(_result(value, "skipped").get("skipped", False))


def unreachable(value: Any) -> bool:
    """The host did not answer."""
    return bool(_result(value, "unreachable").get("unreachable", False))


def reachable(value: Any) -> bool:
    """The host answered."""
    return not unreachable(value)


def regex(
    value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False, match_type: str = "search"
) -> bool:
    """re.search, re.match or re.fullmatch, by `match_type`."""
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    compiled = re.compile(pattern, flags)
    how = {"search": compiled.search, "match": compiled.match, "fullmatch": compiled.fullmatch}
    if match_type not in how:
        raise jinja2.TemplateRuntimeError(f"'is regex': match_type is none of {', '.join(how)}")
    return bool(how[match_type](str(value)))


def match(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    """The text begins with the pattern."""
    return regex(value, pattern, ignorecase, multiline, "match")


def search(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    """The pattern is somewhere in the text."""
    return regex(value, pattern, ignorecase, multiline, "search")


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("==", "=", "eq"), operator.eq),
    **dict.fromkeys(("<", "lt"), operator.lt),
    **dict.fromkeys(("<=", "le"), operator.le),
    **dict.fromkeys((">", "gt"), operator.gt),
    **dict.fromkeys((">=", "ge"), operator.ge),
    **dict.fromkeys(("!=", "<>", "ne"), operator.ne),
}


def version_key(text: str) -> list[tuple[int, int, str]]:
    """Numbers compare as numbers, words as words; a word comes before a number and after the end ('1.0' < '1.0rc1')."""
    parts = re.findall(r"\d+|[a-zA-Z]+", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def version(
    value: Any, other: Any, operator: str = "eq", strict: bool | None = None, version_type: str | None = None
) -> bool:
    """Compare versions by `operator` (names and signs as in Ansible)."""
    if operator not in _OPERATORS:
        raise jinja2.TemplateRuntimeError(f"'is version': operator is none of {', '.join(_OPERATORS)}")
    if not str(value) or not str(other):
        raise jinja2.TemplateRuntimeError("'is version': a version is empty")
    if strict or version_type not in (None, "loose"):
        raise jinja2.TemplateRuntimeError("'is version': only version_type='loose' is supported")
    return bool(_OPERATORS[operator](version_key(str(value)), version_key(str(other))))


def subset(value: Any, other: Any) -> bool:
    """Everything of the first is in the second."""
    return all(one in other for one in value)


def superset(value: Any, other: Any) -> bool:
    """Everything of the second is in the first."""
    return all(one in value for one in other)


def contains(value: Any, one: Any) -> bool:
    """The list (or text) contains a value."""
    return one in value


def truthy(value: Any, convert_bool: bool = False) -> bool:
    """Python's truth; with convert_bool, yes/no words as well."""
    if convert_bool and isinstance(value, str) and value.lower() in ("no", "off", "false", "0", "n", "f"):
        return False
    return bool(value)


def falsy(value: Any, convert_bool: bool = False) -> bool:
    """The opposite of truthy."""
    return not truthy(value, convert_bool)


def nan(value: Any) -> bool:
    """Not a number."""
    return bool(value != value)  # noqa: PLR0124


def every(value: Any) -> bool:
    """All are true."""
    return all(value)


def some(value: Any) -> bool:
    """One is true."""
    return any(value)


def absolute(value: Any) -> bool:
    """The path begins with a slash."""
    return str(value).startswith("/")


def defined(value: Any) -> bool:
    """There is such a variable; a definition with a mistake in it is a fault, not an absence."""
    if not isinstance(value, Missing):
        return True
    value.check()
    return False


def undefined(value: Any) -> bool:
    """There is no such variable."""
    return not defined(value)


TESTS: dict[str, Callable[..., bool]] = {
    **dict.fromkeys(("failed", "failure"), failed),
    **dict.fromkeys(("succeeded", "success", "successful"), succeeded),
    **dict.fromkeys(("changed", "change"), changed),
    **dict.fromkeys(("skipped", "skip"), skipped),
    "defined": defined,
    "undefined": undefined,
    "unreachable": unreachable,
    "reachable": reachable,
    "match": match,
    "search": search,
    "regex": regex,
    **dict.fromkeys(("version", "version_compare"), version),
    **dict.fromkeys(("subset", "issubset"), subset),
    **dict.fromkeys(("superset", "issuperset"), superset),
    "contains": contains,
    "truthy": truthy,
    "falsy": falsy,
    **dict.fromkeys(("nan", "isnan"), nan),
    "all": every,
    "any": some,
    **dict.fromkeys(("abs", "is_abs"), absolute),
}
