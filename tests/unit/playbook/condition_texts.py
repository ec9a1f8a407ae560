"""Conditions as people write them, and some as nobody would: texts over results `x`, `y` and names that are known."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KNOWN: dict[str, Any] = {
    "k": 1, "flag": True, "off": False, "word": "hello", "words": ["a", "hello", "b.c"], "nothing": None,
    "table": {"a": 1, "rc": 0}, "ratio": 1.5, "yes_word": "yes",
}  # fmt: skip
WORDS = ("a", "hello", "hello err 1.10", "", "yes", "42", "4.5", "/etc/hosts", "x\ny", "É", "b.c")

numbers = st.sampled_from([0, 1, 2, -1, 42, 1.5, 0.0, 10**20])
words = st.sampled_from(WORDS)
scalars = st.one_of(numbers, words, st.booleans(), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "rc", "b", "stdout"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def results(draw: st.DrawFn, depth: int = 1) -> dict[str, Any]:
    """A task's result, of a loop too, with things left out and things that no task would give."""
    result: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {"changed": st.booleans()},
            optional={
                "failed": st.booleans(), "skipped": st.booleans(), "rc": st.sampled_from([0, 1, 2, "0", None]),
                "stdout": words, "stderr": words, "stdout_lines": st.lists(words, max_size=3),
                "stat": st.fixed_dictionaries({"exists": st.booleans()}, optional={"size": numbers}),
                "odd": values, "ratio": numbers,
            },
        )
    )  # fmt: skip
    if depth and draw(st.booleans()):
        result["results"] = draw(st.lists(results(depth=depth - 1), max_size=3))
    return result


_ITEMS = [
    "x", "y", "x.rc", "y.rc", "x.stdout", "y.stdout", "x.stdout_lines", "x.results", "y.results", "x.stat.exists",
    "x.stat.size", "x['rc']", "x.nope", "x.nope.more", "nope", "x.odd", "y.odd", "x.changed", "x.results[0].rc",
    "x.stdout_lines[-1]", "x.stdout[1:3]", "x.odd.a", "x.odd['b']", "x.ratio", "x.count", "x.odd.index",
]  # fmt: skip
_LITERALS = ["0", "1", "-1", "42", "1.5", "'a'", "'hello'", "''", "true", "false", "none", "[]", "{}", "(1, 'a')",
             "[0, 'a', none]", "{'a': 1}", "'err'", "'1.2'", *KNOWN]  # fmt: skip
_FILTERS = [
    "length", "count", "default(3)", "d('', true)", "int", "int(7)", "float", "bool", "string", "trim", "lower",
    "upper",
    "replace('a', 'b')", "split", "split('.')", "join(',')", "join", "first", "last", "list", "unique", "sort",
    "sort(reverse=true)", "min", "max", "regex_search('h.l')", "regex_search('(h)(e)', '\\\\1')",
    "select('defined') | list", "select | list", "reject('equalto', 1)", "map(attribute='rc')",
    "map(attribute='rc', default=9)",
    "map('int')", "map('default', 4)", "selectattr('rc', 'ne', 0)", "selectattr('changed')",
    "rejectattr('failed', 'defined')",
    "selectattr('stdout', 'search', 'err')", "dict2items", "basename", "dirname", "abs", "round", "round(1, 'floor')",
    "from_json", "b64encode", "b64encode | b64decode", "ternary(1, 2)", "type_debug", "flatten", "union([1])",
    "intersect(['a', 1])", "difference([0])", "symmetric_difference(['a'])", "mandatory", "sum", "to_json", "title",
    "max(attribute='rc')", "sort(attribute='rc')", "map('regex_search', 'e')", "regex_replace('h', 'j')",
]  # fmt: skip
_TESTS = [
    "changed", "failed", "skipped", "succeeded", "success", "defined", "undefined", "none", "true", "false", "boolean",
    "string", "number", "integer", "float", "mapping", "sequence", "iterable", "truthy", "falsy", "truthy(true)",
    "match('h')", "search('l+o')", "regex('^$')", "search('(?i)HELLO')", "contains('a')", "contains(1)",
    "in [0, 1, 'a']",
    "version('1.2', '>=')", "version('1.10', 'lt', strict=false)", "subset([0, 1, 'a'])", "superset(['a'])", "any",
    "all",
    "eq(1)", "gt(0)", "le('b')", "odd", "even", "divisibleby(2)", "lower", "upper", "unreachable", "reachable", "abs",
    "match('a++')", "sameas(true)",
]  # fmt: skip
_METHODS = [
    "find('l')", "startswith('h')", "endswith('o')", "strip()", "split()", "lower()", "get('rc')", "get('a', 5)",
    "splitlines()", "isdigit()", "replace('l', 'm')", "count('l')", "keys()", "format()",
]  # fmt: skip
_COMPARISONS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in"]
_OPERATORS = ["+", "-", "*", "/", "//", "%", "~"]


def expressions() -> st.SearchStrategy[str]:
    """Texts of expressions of any type."""
    atoms = st.one_of(st.sampled_from(_ITEMS), st.sampled_from(_LITERALS))

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        def glued(*parts: Any) -> st.SearchStrategy[str]:
            strategies = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
            return st.tuples(*strategies).map("".join)

        return st.one_of(
            glued("(", inner, " | ", st.sampled_from(_FILTERS), ")"),
            glued("(", inner, " is ", st.sampled_from(_TESTS), ")"),
            glued("(", inner, " is not ", st.sampled_from(_TESTS), ")"),
            glued("(", inner, " ", st.sampled_from(_COMPARISONS), " ", inner, ")"),
            glued("(", inner, " ", st.sampled_from(_OPERATORS), " ", inner, ")"),
            glued("(", inner, " and ", inner, ")"),
            glued("(", inner, " or ", inner, ")"),
            glued("(not ", inner, ")"),
            glued("(", inner, " if ", inner, " else ", inner, ")"),
            glued("(", inner, " if ", inner, ")"),
            glued("[", inner, ", ", inner, "]"),
            glued("{'a': ", inner, "}"),
            glued("(", inner, ").", st.sampled_from(_METHODS)),
            glued("(0 < ", inner, " <= ", inner, ")"),
            glued("(-", inner, ")"),
        )

    return st.recursive(atoms, grow, max_leaves=5)


_SENSIBLE = [
    "x is changed", "x is failed or y is changed", "x.rc != 0", "x.rc in [0, 2]", "'err' in x.stdout",
    "not x.stat.exists",
    "x.results | selectattr('rc', 'defined') | map(attribute='rc') | select('ne', 0) | list | length > 0",
    "x.stdout | trim == word", "x.stdout.find('err') == -1", "x.stdout_lines | length > k", "flag and x is succeeded",
    "off or x.rc == 0", "off and x.nope", "flag or x.nope", "x.nope is defined and x.nope == 1",
    "x.rc | default(0) | int == 0",
    "x is not skipped and x.stdout is search('^h')", "(x.stdout | from_json).rc == 0",
    "x.stdout is version('1.2', '>=')",
    "x.rc == y.rc", "x.stdout == y.stdout ~ ''", "x.rc", "x.stdout", "nope", "nope is undefined and x is changed",
    "(x.rc if flag else y.rc) == 0", "x.results | map(attribute='changed') | list is any", "k in [x.rc, y.rc]",
]  # fmt: skip


def conditions() -> st.SearchStrategy[str]:
    """Texts of conditions; many have a boolean."""
    truths = st.one_of(
        expressions(),
        expressions().map(lambda text: f"{text} == 1"),
        expressions().map(lambda text: f"{text} is defined"),
        expressions().map(lambda text: f"not {text}"),
        st.sampled_from(_SENSIBLE),
    )
    pairs = st.tuples(truths, st.sampled_from(["and", "or"]), truths).map(lambda parts: "({}) {} ({})".format(*parts))
    return st.one_of(truths, pairs)
