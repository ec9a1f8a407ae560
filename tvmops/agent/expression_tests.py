"""The tests that conditions on the board may use (`x is changed`), as the controller's templates have them."""

import operator
import re

from .expression_values import FilterFault, Undefined, regex_flags

FALSE_WORDS = ("no", "off", "false", "0", "n", "f")


def _result(value, test):
    if isinstance(value, Undefined):
        value.used()
    if not isinstance(value, dict):
        raise FilterFault("'is %s' wants a task's registered result, not %s" % (test, type(value).__name__))
    return value


def failed(value):
    """The task failed."""
    return bool(_result(value, "failed").get("failed", False))


def changed(value):
    """The task, or one of its items, changed something."""
    result = _result(value, "changed")
    if "changed" not in result and isinstance(result.get("results"), list):
        return any(bool(one.get("changed")) for one in result["results"])
    return bool(result.get("changed", False))


def skipped(value):
    """The task did not run."""
    return bool(_result(value, "skipped").get("skipped", False))


def unreachable(value):
    """The host did not answer."""
    return bool(_result(value, "unreachable").get("unreachable", False))


def regex(value, pattern="", ignorecase=False, multiline=False, match_type="search"):
    """re.search, re.match or re.fullmatch, by `match_type`."""
    compiled = re.compile(pattern, regex_flags(ignorecase, multiline))
    how = {"search": compiled.search, "match": compiled.match, "fullmatch": compiled.fullmatch}
    if match_type not in how:
        raise FilterFault("'is regex': match_type is none of fullmatch, match, search")
    return bool(how[match_type](str(value)))


def match(value, pattern="", ignorecase=False, multiline=False):
    """The text begins with the pattern."""
    return regex(value, pattern, ignorecase, multiline, "match")


def search(value, pattern="", ignorecase=False, multiline=False):
    """The pattern is somewhere in the text."""
    return regex(value, pattern, ignorecase, multiline, "search")


_VERSION_OPERATORS = {
    "==": operator.eq,
    "=": operator.eq,
    "eq": operator.eq,
    "<": operator.lt,
    "lt": operator.lt,
    "<=": operator.le,
    "le": operator.le,
    ">": operator.gt,
    "gt": operator.gt,
    ">=": operator.ge,
    "ge": operator.ge,
    "!=": operator.ne,
    "<>": operator.ne,
    "ne": operator.ne,
}


def _version_key(text):
    parts = re.findall(r"\d+|[a-zA-Z]+", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def version(value, other, operator="eq", strict=None, version_type=None):
    """Compare versions."""
    if operator not in _VERSION_OPERATORS:
        raise FilterFault("'is version': there is no operator %s" % (operator,))
    if not str(value) or not str(other):
        raise FilterFault("'is version': a version is empty")
    if strict or version_type not in (None, "loose"):
        raise FilterFault("'is version': only version_type='loose' is supported")
    return bool(_VERSION_OPERATORS[operator](_version_key(str(value)), _version_key(str(other))))


def truthy(value, convert_bool=False):
    """Python's truth; with convert_bool, yes/no words as well."""
    if convert_bool and isinstance(value, str) and value.lower() in FALSE_WORDS:
        return False
    return bool(value)


def _sequence(value):
    return isinstance(value, (str, list, tuple, dict))


def _iterable(value):
    if isinstance(value, Undefined):
        value.used()
    return _sequence(value)


TESTS = {
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "abs": lambda value: str(value).startswith("/"),
    "all": all,
    "any": any,
    "boolean": lambda value: isinstance(value, bool),
    "change": changed,
    "changed": changed,
    "contains": lambda value, one: one in value,
    "defined": lambda value: not isinstance(value, Undefined),
    "divisibleby": lambda value, num: value % num == 0,
    "eq": operator.eq,
    "equalto": operator.eq,
    "even": lambda value: value % 2 == 0,
    "failed": failed,
    "failure": failed,
    "false": lambda value: value is False,
    "falsy": lambda value, convert_bool=False: not truthy(value, convert_bool),
    "float": lambda value: isinstance(value, float),
    "ge": operator.ge,
    "greaterthan": operator.gt,
    "gt": operator.gt,
    "in": lambda value, seq: value in seq,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "is_abs": lambda value: str(value).startswith("/"),
    "issubset": lambda value, other: all(one in other for one in value),
    "issuperset": lambda value, other: all(one in value for one in other),
    "iterable": _iterable,
    "le": operator.le,
    "lessthan": operator.lt,
    "lower": lambda value: str(value).islower(),
    "lt": operator.lt,
    "mapping": lambda value: isinstance(value, dict),
    "match": match,
    "ne": operator.ne,
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)),
    "odd": lambda value: value % 2 == 1,
    "reachable": lambda value: not unreachable(value),
    "regex": regex,
    "search": search,
    "sequence": _sequence,
    "skip": skipped,
    "skipped": skipped,
    "string": lambda value: isinstance(value, str),
    "subset": lambda value, other: all(one in other for one in value),
    "succeeded": lambda value: not failed(value),
    "success": lambda value: not failed(value),
    "successful": lambda value: not failed(value),
    "superset": lambda value, other: all(one in value for one in other),
    "true": lambda value: value is True,
    "truthy": truthy,
    "undefined": lambda value: isinstance(value, Undefined),
    "unreachable": unreachable,
    "upper": lambda value: str(value).isupper(),
    "version": version,
    "version_compare": version,
}
