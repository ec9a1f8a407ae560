"""The filters that conditions on the board may use, as the controller's templates have them.

What cannot be exact with every Python (sums of floats, regular expressions that replace nothing by something) is left
out: a condition with it is decided on the controller.
"""

import itertools

from . import expression_scalars
from .expression_tests import TESTS
from .expression_values import FilterFault, Undefined, getitem


def _parts(attribute):
    if attribute is None:
        return []
    if isinstance(attribute, str):
        return [int(part) if part.isdigit() else part for part in attribute.split(".")]
    return [attribute]


def _ignore_case(value):
    return value.lower() if isinstance(value, str) else value


def _same(value):
    return value


def _getter(attribute, postprocess=_same, default=None):
    parts = _parts(attribute)

    def get(value):
        for part in parts:
            value = getitem(value, part)
            if default is not None and isinstance(value, Undefined):
                value = default
        return postprocess(value)

    return get


def do_map(value, *arguments, **named):
    """Each item's attribute, or each item through a filter."""
    if not arguments and "attribute" in named:
        each = _getter(named.pop("attribute"), default=named.pop("default", None))
        if named:
            raise FilterFault("map: unexpected argument %s" % sorted(named)[0])
    else:
        name, rest = arguments[0], arguments[1:]

        def each(item):
            return FILTERS[name](item, *rest, **named)

    return [each(item) for item in value] if value else []


def _chooser(wanted, by_attribute):
    def choose(value, *arguments, **named):
        look = _same
        if by_attribute:
            look, arguments = _getter(arguments[0]), arguments[1:]
        if arguments:
            name, rest = arguments[0], arguments[1:]

            def holds(item):
                return TESTS[name](item, *rest, **named)

        else:
            holds = bool
        return [item for item in value if bool(holds(look(item))) is wanted] if value else []

    return choose


def _extreme(choose):
    def find(value, case_sensitive=False, attribute=None):
        values = iter(value)
        try:
            first = next(values)
        except StopIteration:
            return Undefined("No aggregated item, sequence was empty.")
        key = _getter(attribute, _same if case_sensitive else _ignore_case)
        return choose(itertools.chain([first], values), key=key)

    return find


def sort(value, reverse=False, case_sensitive=False, attribute=None):
    """Sorted by themselves, or by one or more attributes."""
    names = attribute.split(",") if isinstance(attribute, str) else [attribute]
    getters = [_getter(name, _same if case_sensitive else _ignore_case) for name in names]
    return sorted(value, key=lambda item: [get(item) for get in getters], reverse=reverse)


def first(value):
    """The first item."""
    for item in value:
        return item
    return Undefined("No first item, sequence was empty.")


def last(value):
    """The last item."""
    # Before Python 3.8 dictionaries could not be reversed.
    for item in reversed(list(value) if isinstance(value, dict) else value):
        return item
    return Undefined("No last item, sequence was empty.")


def join(value, d="", attribute=None):
    """One text of the items' texts."""
    if attribute is not None:
        value = [_getter(attribute)(item) for item in value]
    return str(d).join([str(item) for item in value])


def distinct(values):
    """The distinct values in their first order."""
    result = []
    for one in values:
        if one not in result:
            result.append(one)
    return result


def union(first, second):
    """Values of either list."""
    return distinct(list(first) + list(second))


def intersect(first, second):
    """Values of both lists."""
    return distinct([value for value in first if value in second])


def difference(first, second):
    """Values of the first list that are not in the second."""
    return distinct([value for value in first if value not in second])


def symmetric_difference(first, second):
    """Values of exactly one of the lists."""
    return difference(union(first, second), intersect(first, second))


def flatten(value, levels=None, skip_nulls=True):
    """Lists inside lists brought to one level (or `levels` fewer); nulls left out."""
    result = []
    for one in value:
        if skip_nulls and (one is None or (isinstance(one, str) and one in ("None", "null"))):
            continue
        if isinstance(one, (list, tuple)) and (levels is None or levels >= 1):
            result.extend(flatten(one, None if levels is None else levels - 1, skip_nulls))
        else:
            result.append(one)
    return result


def dict2items(value, key_name="key", value_name="value"):
    """A dictionary as a list of {key, value}."""
    if not isinstance(value, dict):
        raise FilterFault("dict2items: wants a dictionary, not %s" % type(value).__name__)
    return [{key_name: key, value_name: one} for key, one in value.items()]


FILTERS = dict(
    expression_scalars.FILTERS,
    **{
        "dict2items": dict2items,
        "difference": difference,
        "first": first,
        "flatten": flatten,
        "intersect": intersect,
        "join": join,
        "last": last,
        "list": list,
        "map": do_map,
        "max": _extreme(max),
        "min": _extreme(min),
        "reject": _chooser(False, False),
        "rejectattr": _chooser(False, True),
        "select": _chooser(True, False),
        "selectattr": _chooser(True, True),
        "sort": sort,
        "symmetric_difference": symmetric_difference,
        "union": union,
        "unique": distinct,
    },
)
