"""What is left of a condition for the board to decide: everything that is known here is put in as a literal.

A condition that reads a result which the board will have within the same batch is split: parts without such names are
worked out here, the rest becomes an expression of agent/expression.py. Where that cannot be exact, Pending is raised
as for any result that is not here yet, and the condition waits for a batch of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from jinja2 import nodes

from tvmops.playbook.engine import Compiled, compile_expression, parse_condition
from tvmops.playbook.faults import Pending
from tvmops.playbook.portable import (
    ATTRIBUTE_NAMES,
    COMPARISONS,
    OPERATORS,
    filter_problem,
    literal,
    method_problem,
    test_problem,
)
from tvmops.playbook.values import Condition
from tvmops.playbook.variables import Scope

Expr = list[Any]
Rows = list[list[Any]]  # [[expression, the condition's text], ...] as the agent takes them


def residual(condition: Condition, scope: Scope, awaited_on_board: Collection[str]) -> Expr | bool:
    """The condition's verdict, or what the board has to evaluate for it.

    `awaited_on_board`: names of results that the board will have by then. Raises Pending when it cannot be decided
    on the board; TemplateFault when it needs nothing of the board, and is at fault.
    """
    if condition.compiled is None:
        return condition.fixed
    if condition.indirect or not awaited_on_board:
        return condition.holds(scope)
    tree = _parsed(condition.text)
    awaited = frozenset(name for name in _names(tree).intersection(awaited_on_board) if scope.awaits(name))
    if not awaited:
        return condition.holds(scope)
    part = _Splitter(scope, awaited).split(tree)
    if isinstance(part, _Expression):
        return part.expression
    if not isinstance(part.value, bool):
        # Once the names are known the condition itself will complain, with its position and a hint.
        raise Pending(min(awaited))
    return part.value


def residual_all(
    conditions: tuple[Condition, ...], scope: Scope, awaited_on_board: Collection[str]
) -> Rows | Condition:
    """What is left of conditions that must all hold: a Condition known to be false, or rows for the board.

    No rows: all hold. Raises as `residual`.
    """
    rows: Rows = []
    for condition in conditions:
        left = residual(condition, scope, awaited_on_board)
        if isinstance(left, list):
            rows.append([left, condition.text])
        elif not left:
            if not rows:
                return condition
            # The board decides in order: an earlier condition may be false, or at fault, itself.
            rows.append([["lit", False], condition.text])
            break
    return rows


def reads(condition: Condition, name: str) -> bool:
    """True when a condition's own text reads a name."""
    return condition.compiled is not None and not condition.indirect and name in _names(_parsed(condition.text))


class _Value:
    """A part that is known here."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Expression:
    """A part that the board decides."""

    def __init__(self, expression: Expr) -> None:
        self.expression = expression


_Part = _Value | _Expression


def _names(node: nodes.Node) -> frozenset[str]:
    """The names that a tree reads, remembered with the tree."""
    found: frozenset[str] | None = getattr(node, "_tvmops_names", None)
    if found is None:
        own = [node] if isinstance(node, nodes.Name) else []
        found = frozenset(one.name for one in (*own, *node.find_all(nodes.Name)))
        node._tvmops_names = found  # type: ignore[attr-defined]
    return found


@lru_cache(maxsize=4096)
def _parsed(text: str) -> nodes.Expr:
    return parse_condition(text)


def _compiled(node: nodes.Expr) -> Compiled:
    found: Compiled | None = getattr(node, "_tvmops_compiled", None)
    if found is None:
        found = compile_expression(node)
        node._tvmops_compiled = found  # type: ignore[attr-defined]
    return found


def _looks_up(node: nodes.Node) -> bool:
    """True for lookups and the like: they are done when the condition is decided, not before, or not at all."""
    own = [node] if isinstance(node, nodes.Call) else []
    return any(isinstance(call.node, nodes.Name) for call in (*own, *node.find_all(nodes.Call)))


class _Splitter:
    """Splits one condition. `awaited`: the names that the board will know."""

    def __init__(self, scope: Scope, awaited: frozenset[str]) -> None:
        self._scope = scope
        self._awaited = awaited
        self._reason = ""

    def split(self, node: nodes.Expr) -> _Part:
        """The value of a part, or an expression for it. Raises Pending."""
        waiting = _names(node) & self._awaited
        if not waiting:
            return _Value(self._known(node))
        self._reason = min(waiting)
        handle = _HANDLERS.get(type(node))
        if handle is None:
            raise Pending(self._reason)
        part: _Part = handle(self, node)
        return part

    def refuse(self) -> Pending:
        """The condition cannot be decided on the board."""
        return Pending(self._reason)

    def expression(self, node: nodes.Expr) -> Expr:
        """An expression for a part; what is known becomes a literal."""
        part = self.split(node)
        return part.expression if isinstance(part, _Expression) else self.literal(part.value)

    def expressions(self, several: list[nodes.Expr]) -> list[Expr]:
        """Expressions for parts."""
        return [self.expression(one) for one in several]

    def _known(self, node: nodes.Expr) -> Any:
        if isinstance(node, nodes.Const):
            return node.value
        if _looks_up(node):
            raise self.refuse()
        try:
            return _compiled(node).render(self._scope)
        except Pending:
            raise
        except Exception:
            # The part may never be reached: who decides the whole condition will see.
            raise self.refuse() from None

    def literal(self, value: Any) -> Expr:
        """A known value, as it is on the board. Raises Pending when it would not be the same there."""
        found = literal(value)
        if found is None:
            raise self.refuse()
        return found


def _name(_splitter: _Splitter, node: nodes.Name) -> _Part:
    return _Expression(["reg", node.name])


def _attribute(splitter: _Splitter, node: nodes.Getattr) -> _Part:
    # A name that values of some type have themselves (`count`, `items`) is that, not the key.
    if node.attr in ATTRIBUTE_NAMES:
        raise splitter.refuse()
    return _Expression(["attr", splitter.expression(node.node), node.attr])


def _item(splitter: _Splitter, node: nodes.Getitem) -> _Part:
    if isinstance(node.arg, nodes.Slice):
        bounds = [node.arg.start, node.arg.stop, node.arg.step]
        parts = [None if one is None else splitter.expression(one) for one in bounds]
        return _Expression(["slice", splitter.expression(node.node), *parts])
    key = splitter.expression(node.arg)
    if key[0] != "lit" or (isinstance(key[1], str) and key[1] in ATTRIBUTE_NAMES):
        raise splitter.refuse()
    return _Expression(["item", splitter.expression(node.node), key])


def _not(splitter: _Splitter, node: nodes.Not) -> _Part:
    return _Expression(["not", splitter.expression(node.node)])


def _negative(splitter: _Splitter, node: nodes.Neg) -> _Part:
    return _Expression(["neg", splitter.expression(node.node)])


def _positive(splitter: _Splitter, node: nodes.Pos) -> _Part:
    return _Expression(["pos", splitter.expression(node.node)])


def _truth(splitter: _Splitter, value: Any) -> bool:
    try:
        return bool(value)
    except Exception:
        raise splitter.refuse() from None


def _either(splitter: _Splitter, node: nodes.And | nodes.Or) -> _Part:
    left = splitter.split(node.left)
    decides = isinstance(node, nodes.Or)
    if isinstance(left, _Value):
        return left if _truth(splitter, left.value) is decides else splitter.split(node.right)
    word = "or" if decides else "and"
    return _Expression([word, left.expression, splitter.expression(node.right)])


def _compare(splitter: _Splitter, node: nodes.Compare) -> _Part:
    others = [[COMPARISONS[one.op], splitter.expression(one.expr)] for one in node.ops]
    return _Expression(["cmp", splitter.expression(node.expr), others])


def _conditional(splitter: _Splitter, node: nodes.CondExpr) -> _Part:
    if node.expr2 is None:  # what is undefined then behaves like nothing else that is
        raise splitter.refuse()
    test = splitter.split(node.test)
    if isinstance(test, _Value):
        return splitter.split(node.expr1 if _truth(splitter, test.value) else node.expr2)
    return _Expression(["cond", test.expression, splitter.expression(node.expr1), splitter.expression(node.expr2)])


def _list(splitter: _Splitter, node: nodes.List | nodes.Tuple) -> _Part:
    word = "list" if isinstance(node, nodes.List) else "tuple"
    return _Expression([word, splitter.expressions(node.items)])


def _dict(splitter: _Splitter, node: nodes.Dict) -> _Part:
    pairs = [[splitter.expression(pair.key), splitter.expression(pair.value)] for pair in node.items]
    return _Expression(["dict", pairs])


def _binary(splitter: _Splitter, node: nodes.BinExpr) -> _Part:
    operands = [splitter.expression(node.left), splitter.expression(node.right)]
    return _Expression(["binary", OPERATORS[type(node)], *operands])


def _concat(splitter: _Splitter, node: nodes.Concat) -> _Part:
    return _Expression(["concat", splitter.expressions(node.nodes)])


def _arguments(splitter: _Splitter, node: nodes.Filter | nodes.Test) -> tuple[list[Expr], dict[str, Expr]]:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise splitter.refuse()
    named = {str(pair.key): splitter.expression(pair.value) for pair in node.kwargs}
    return splitter.expressions(node.args), named


def _test(splitter: _Splitter, node: nodes.Test) -> _Part:
    arguments, named = _arguments(splitter, node)
    if test_problem(node.name, arguments, named):
        raise splitter.refuse()
    return _Expression(["test", node.name, splitter.expression(node.node), arguments, named])


def _filter(splitter: _Splitter, node: nodes.Filter) -> _Part:
    arguments, named = _arguments(splitter, node)
    if node.node is None or filter_problem(node.name, arguments, named):
        raise splitter.refuse()
    return _Expression(["filter", node.name, splitter.expression(node.node), arguments, named])


def _call(splitter: _Splitter, node: nodes.Call) -> _Part:
    method = node.node
    plain = not node.kwargs and node.dyn_args is None and node.dyn_kwargs is None
    if not isinstance(method, nodes.Getattr) or not plain or method_problem(method.attr):
        raise splitter.refuse()
    return _Expression(["call", method.attr, splitter.expression(method.node), splitter.expressions(node.args)])


_HANDLERS: dict[type[nodes.Node], Any] = {
    nodes.Name: _name,
    nodes.Getattr: _attribute,
    nodes.Getitem: _item,
    nodes.Not: _not,
    nodes.Neg: _negative,
    nodes.Pos: _positive,
    nodes.And: _either,
    nodes.Or: _either,
    nodes.Compare: _compare,
    nodes.CondExpr: _conditional,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _dict,
    **dict.fromkeys(OPERATORS, _binary),
    nodes.Concat: _concat,
    nodes.Test: _test,
    nodes.Filter: _filter,
    nodes.Call: _call,
}
