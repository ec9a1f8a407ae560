"""Filters of single values, and the methods of text, that conditions on the board may use."""

import base64
import math
import os.path
import re

from .expression_values import FilterFault, Undefined, regex_flags, wants_text
from .ordered import loads

TRUE_WORDS = ("yes", "on", "true", "1")


def from_json(text):
    """The value that JSON text stands for; dictionaries keep their order."""
    return loads(text)


def default(value, default_value="", boolean=False):
    """`default_value` when the value is undefined (with `boolean`: also when it is false)."""
    if isinstance(value, Undefined) or (boolean and not value):
        return default_value
    return value


def mandatory(value, msg=None):
    """The value; fails when it is undefined."""
    if isinstance(value, Undefined):
        if msg is not None:
            raise FilterFault(str(msg))
        value.used()
    return value


def ternary(value, true_val, false_val, none_val=None):
    """One of two values by the truth of a third."""
    if value is None and none_val is not None:
        return none_val
    return true_val if bool(value) else false_val


def type_debug(value):
    """The Python type's name."""
    if isinstance(value, Undefined):
        return "AnsibleUndefined"
    return "dict" if isinstance(value, dict) else type(value).__name__


def to_int(value, default=0, base=10):
    """A whole number, or `default`."""
    try:
        return int(value, base) if isinstance(value, str) else int(value)
    except (TypeError, ValueError):
        try:
            return int(float(value))
        except (TypeError, ValueError, OverflowError):
            return default


def to_float(value, default=0.0):
    """A number, or `default`."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def to_bool(value):
    """yes/no words and 0/1."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.lower() in TRUE_WORDS
    return bool(value == 1)


def to_round(value, precision=0, method="common"):
    """Rounded."""
    if method == "common":
        return round(value, precision)
    if method not in ("ceil", "floor"):
        raise FilterFault("round: method must be common, ceil or floor")
    return getattr(math, method)(value * (10**precision)) / (10**precision)


def replace(value, old, new, count=None):
    """One text in place of another."""
    return str(value).replace(str(old), str(new), -1 if count is None else count)


def split(value, separator=None, limit=-1):
    """str.split."""
    return wants_text(value, "split").split(separator, limit)


def _path(function):
    def apply(value):
        return function(wants_text(value, function.__name__))

    return apply


def b64decode(value, encoding="utf-8", urlsafe=False):
    """The text whose Base64 this is."""
    decode = base64.urlsafe_b64decode if urlsafe else base64.b64decode
    return decode(str(value)).decode(encoding)


def b64encode(value, encoding="utf-8", urlsafe=False):
    """Base64 of the text's bytes."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return encode(str(value).encode(encoding)).decode("ascii")


def regex_search(value, pattern, *groups, **named):
    """The text that matches, or a list of the groups asked for, or None."""
    flags = regex_flags(named.pop("ignorecase", False), named.pop("multiline", False))
    if named:
        raise FilterFault("regex_search: unexpected argument %s" % sorted(named)[0])
    wanted = []
    for group in groups:
        by_name, by_number = re.match(r"\\g<(\S+)>\Z", group), re.match(r"\\(\d+)\Z", group)
        if not by_name and not by_number:
            raise FilterFault("regex_search: '%s' is not a group" % group)
        wanted.append(by_name.group(1) if by_name else int(by_number.group(1)))
    found = re.search(pattern, str(value), flags)
    if not found:
        return None
    return [found.group(one) for one in wanted] if wanted else found.group()


def _method(name):
    def call(value, *arguments):
        return getattr(wants_text(value, name), name)(*arguments)

    return call


def _get(value, *arguments):
    if isinstance(value, Undefined):
        value.used()
    if not isinstance(value, dict):
        raise FilterFault("get: wants a dictionary, not %s" % type(value).__name__)
    return value.get(*arguments)


# Methods of text (and of dictionaries: get) that expressions may call.
METHODS = {
    name: _method(name)
    for name in (
        "endswith",
        "find",
        "isdigit",
        "lower",
        "lstrip",
        "replace",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "upper",
    )
}
METHODS["get"] = _get

FILTERS = {
    "abs": abs,
    "b64decode": b64decode,
    "b64encode": b64encode,
    "basename": _path(os.path.basename),
    "bool": to_bool,
    "count": len,
    "d": default,
    "default": default,
    "dirname": _path(os.path.dirname),
    "float": to_float,
    "from_json": from_json,
    "int": to_int,
    "length": len,
    "lower": lambda value: str(value).lower(),
    "mandatory": mandatory,
    "regex_search": regex_search,
    "replace": replace,
    "round": to_round,
    "split": split,
    "string": str,
    "ternary": ternary,
    "trim": lambda value, chars=None: str(value).strip(chars),
    "type_debug": type_debug,
    "upper": lambda value: str(value).upper(),
}
