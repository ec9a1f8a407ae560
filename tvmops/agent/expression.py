"""Conditions decided on the board: expressions that the controller has already parsed, with its templates' semantics.

An expression is a list whose first word says what it is:

    ["lit", value]                      ["reg", name]  or  ["reg", name, what it is as long as nothing is registered]
    ["attr", E, name]                   ["item", E, E]                 ["slice", E, start|null, stop|null, step|null]
    ["not", E]  ["neg", E]  ["pos", E]  ["and", E, E]  ["or", E, E]    ["binary", operator, E, E]  ["concat", [E...]]
    ["cmp", E, [[operator, E]...]]      ["cond", test, E, E]
    ["list", [E...]]  ["tuple", [E...]] ["dict", [[E, E]...]]
    ["test", name, E, [E...], {name: E}]   ["filter", name, E, [E...], {name: E}]   ["call", method, E, [E...]]
"""

import operator

from .expression_filters import FILTERS
from .expression_scalars import METHODS
from .expression_tests import TESTS
from .expression_values import FilterFault, Undefined, UndefinedUsed, getitem, kind
from .ordered import Dictionary

COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
}
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


class ConditionFault(Exception):
    """A condition that cannot be decided; the message names it."""


def names_in(rows):
    """The registered results that expressions read."""
    if isinstance(rows, dict):
        return set().union(*(names_in(one) for one in rows.values()))
    if not isinstance(rows, list) or rows[:1] == ["lit"]:
        return set()
    own = {rows[1]} if rows[:1] == ["reg"] else set()
    return own.union(*(names_in(one) for one in rows))


def first_false(conditions, registered):
    """The text of the first of [[expression, text]...] that does not hold, or None. Raises ConditionFault."""
    for expression, text in conditions:
        try:
            value = evaluate(expression, registered)
            if isinstance(value, Undefined):
                value.used()
        except Exception as error:
            raise ConditionFault("the condition '%s' cannot be decided: %s" % (_shorten(text), _reason(error)))
        if not isinstance(value, bool):
            raise ConditionFault("the condition '%s' gives %s, not true or false" % (_shorten(text), kind(value)))
        if not value:
            return text
    return None


def evaluate(expression, registered):
    """The value of an expression; `registered` has the results known so far. Raises whatever the evaluation raises."""
    return _KINDS[expression[0]](expression, registered)


def _literal(expression, registered):
    return expression[1]


def _registered(expression, registered):
    name = expression[1]
    if name in registered:
        return registered[name]
    return evaluate(expression[2], registered) if len(expression) > 2 else Undefined("'%s' is undefined" % name)


def _attribute(expression, registered):
    return getitem(evaluate(expression[1], registered), expression[2])


def _item(expression, registered):
    return getitem(evaluate(expression[1], registered), evaluate(expression[2], registered))


def _slice(expression, registered):
    value = evaluate(expression[1], registered)
    bounds = [None if one is None else evaluate(one, registered) for one in expression[2:5]]
    return value[slice(*bounds)]


def _not(expression, registered):
    return not evaluate(expression[1], registered)


def _negative(expression, registered):
    return -evaluate(expression[1], registered)


def _positive(expression, registered):
    return +evaluate(expression[1], registered)


def _and(expression, registered):
    return evaluate(expression[1], registered) and evaluate(expression[2], registered)


def _or(expression, registered):
    return evaluate(expression[1], registered) or evaluate(expression[2], registered)


def _binary(expression, registered):
    return OPERATORS[expression[1]](evaluate(expression[2], registered), evaluate(expression[3], registered))


def _concat(expression, registered):
    return "".join([str(one) for one in _several(expression[1], registered)])


def _compare(expression, registered):
    left = evaluate(expression[1], registered)
    result = True
    for name, other in expression[2]:
        right = evaluate(other, registered)
        result = COMPARISONS[name](left, right)
        if not result:
            break
        left = right
    return result


def _conditional(expression, registered):
    return evaluate(expression[2] if evaluate(expression[1], registered) else expression[3], registered)


def _list(expression, registered):
    return _several(expression[1], registered)


def _tuple(expression, registered):
    return tuple(_several(expression[1], registered))


def _dict(expression, registered):
    return Dictionary((evaluate(key, registered), evaluate(value, registered)) for key, value in expression[1])


def _test(expression, registered):
    return _applied(TESTS, expression, registered)


def _filter(expression, registered):
    return _applied(FILTERS, expression, registered)


def _call(expression, registered):
    value = evaluate(expression[2], registered)
    return METHODS[expression[1]](value, *_several(expression[3], registered))


def _applied(functions, expression, registered):
    value = evaluate(expression[2], registered)
    arguments = _several(expression[3], registered)
    named = {key: evaluate(one, registered) for key, one in expression[4].items()}
    return functions[expression[1]](value, *arguments, **named)


def _several(expressions, registered):
    return [evaluate(one, registered) for one in expressions]


_KINDS = {
    "lit": _literal,
    "reg": _registered,
    "attr": _attribute,
    "item": _item,
    "slice": _slice,
    "not": _not,
    "neg": _negative,
    "pos": _positive,
    "and": _and,
    "or": _or,
    "binary": _binary,
    "concat": _concat,
    "cmp": _compare,
    "cond": _conditional,
    "list": _list,
    "tuple": _tuple,
    "dict": _dict,
    "test": _test,
    "filter": _filter,
    "call": _call,
}


def _shorten(text):
    line = " ".join(str(text).split())
    return line if len(line) <= 80 else line[:77] + "..."


def _reason(error):
    text = str(error) or type(error).__name__
    known = isinstance(error, (UndefinedUsed, FilterFault))
    return text if known else "%s (%s)" % (text, type(error).__name__)
