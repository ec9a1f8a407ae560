"""Jinja2 as Ansible uses it: native types, strict undefined, names looked up in a Scope. Compiled once per text."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.environment import Template
from jinja2.lexer import TOKEN_STRING, TOKEN_VARIABLE_BEGIN, TOKEN_VARIABLE_END, Lexer
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from tvmops.playbook.undefined import OMIT, Missing

MARKS = ("{{", "{%", "{#")


def has_template(text: str) -> bool:
    """True when `text` holds Jinja."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


CONTAINERS = (dict, list, tuple, set, frozenset)
_PLAIN = frozenset((str, int, float, bool, type(None)))
_VIEWS: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()), range, tuple, set, frozenset)


def plain(value: Any) -> Any:
    """`value` as dictionaries, lists and scalars only; leftovers of undefined raise, `omit` falls out of containers."""
    kind = type(value)
    if kind in _PLAIN or value is OMIT:
        return value
    if isinstance(value, Missing):
        return value._used()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items() if one is not OMIT}
    if isinstance(value, (list, *_VIEWS)) or hasattr(value, "__next__"):
        return [plain(one) for one in value if one is not OMIT]
    if isinstance(value, Path):
        return str(value)
    return value


def join_pieces(pieces: Iterable[Any]) -> Any:
    """What a template gives: its only piece as it is, several as one text, None for none. Nothing is no piece."""
    kept = [piece for piece in pieces if piece is not None]
    if len(kept) > 1:
        return "".join([str(plain(piece)) if isinstance(piece, CONTAINERS) else str(piece) for piece in kept])
    return kept[0] if kept else None


class ScopeContext(Context):
    """Looks names up in whatever mapping it was given, without copying it."""

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        try:
            return self.parent[key]
        except KeyError:
            return self.environment.globals.get(key, missing)

    def get_all(self) -> Any:
        return ChainMap(self.vars, self.parent) if self.vars else self.parent


class ScopeTemplate(Template):
    """A template whose contexts are ScopeContexts."""

    def new_context(self, vars: Any = None, shared: bool = False, locals: Any = None) -> Context:  # noqa: ARG002
        parent = {} if vars is None else vars
        kept = {key: value for key, value in (locals or {}).items() if value is not missing}
        names: Any = ChainMap(kept, parent) if kept else parent
        return ScopeContext(self.environment, names, self.name, self.blocks)


class TypedCodeGenerator(NativeCodeGenerator):
    """Keeps the type of a constant that is the whole template."""

    @staticmethod
    def _default_finalize(value: Any) -> Any:
        return value

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        values = list(group)
        return repr(values[0]) if len(values) == 1 else repr(join_pieces(values))


class YamlLexer(Lexer):
    r"""In YAML text a backslash inside `{{ '...' }}` is a backslash: YAML has had its turn at escapes already."""

    def tokeniter(self, *args: Any, **kwargs: Any) -> Iterator[tuple[int, str, str]]:
        inside = False
        for line, kind, value in super().tokeniter(*args, **kwargs):
            if kind == TOKEN_VARIABLE_BEGIN:
                inside = True
            elif kind == TOKEN_VARIABLE_END:
                inside = False
            yield line, kind, value.replace("\\", "\\\\") if inside and kind == TOKEN_STRING else value


class PlaybookEnvironment(SandboxedEnvironment):
    """The Jinja environment of playbooks; `yaml_text` says whether texts come from YAML (see YamlLexer)."""

    context_class = ScopeContext
    template_class = ScopeTemplate
    code_generator_class = TypedCodeGenerator
    # Macros, {% set %} blocks and the like put their pieces together in the same way.
    concat = staticmethod(join_pieces)

    def __init__(self, yaml_text: bool, **options: Any) -> None:
        super().__init__(undefined=Missing, trim_blocks=options.pop("trim_blocks", True), autoescape=False, **options)
        from tvmops.playbook import filters, jinja_tests, lookups

        self.filters.update(filters.FILTERS)
        for name in filters.REFUSED:
            self.filters.pop(name, None)
        self.tests.update(jinja_tests.TESTS)
        self.globals.update(lookups.GLOBALS)
        self.globals.update(range=range, omit=OMIT)
        self._yaml_lexer = YamlLexer(self) if yaml_text else None

    @property
    def lexer(self) -> Lexer:
        return self._yaml_lexer or super().lexer


_environments: dict[bool, PlaybookEnvironment] = {}


def environment(yaml_text: bool = True) -> PlaybookEnvironment:
    """The shared environment for YAML text, or for conditions and template files."""
    if yaml_text not in _environments:
        _environments[yaml_text] = PlaybookEnvironment(yaml_text)
    return _environments[yaml_text]


@dataclass(frozen=True)
class Compiled:
    """A template ready to be worked out in a scope."""

    template: Template
    newlines: int = 0

    def render(self, scope: Mapping[str, Any]) -> Any:
        """The value: the expression's own when the template is one expression, otherwise text (None when empty)."""
        context = ScopeContext(self.template.environment, scope, self.template.name, self.template.blocks)  # type: ignore[arg-type]
        value = join_pieces(self.template.root_render_func(context))
        if self.newlines and isinstance(value, str):
            lost = self.newlines - (len(value) - len(value.rstrip("\n")))
            value += "\n" * max(0, lost)
        return value


@dataclass(frozen=True)
class CompileProblem(Exception):
    """Text that is not valid Jinja. `line` counts from 1 inside the text; `needle` is the word to point at."""

    message: str
    hint: str
    line: int
    needle: str

    def __str__(self) -> str:
        return self.message


_compiled: dict[tuple[str, str], Compiled | CompileProblem] = {}


def compile_text(text: str) -> Compiled:
    """The compiled form of YAML text with Jinja in it. Raises CompileProblem."""
    return _cached("text", text)


def compile_condition(text: str) -> Compiled:
    """The compiled form of a bare expression (`when:` and friends). Raises CompileProblem."""
    return _cached("condition", text)


def compile_file(text: str, name: str, search: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> Compiled:
    """The compiled form of a template file's text; `search`: where its includes are found. Raises CompileProblem."""
    env = PlaybookEnvironment(False, loader=jinja2.FileSystemLoader(list(search)), **dict(options))
    return _build(env, lambda: env.parse(text, name, name), name, text)


def _cached(kind: str, text: str) -> Compiled:
    found = _compiled.get((kind, text))
    if found is None:
        try:
            found = _compile_text(text) if kind == "text" else _compile_condition(text)
        except CompileProblem as problem:
            found = problem
        _compiled[kind, text] = found
    if isinstance(found, CompileProblem):
        raise found
    return found


def _compile_text(text: str) -> Compiled:
    env = environment(True)
    return _build(env, lambda: env.parse(text), None, text)


def parse_condition(text: str) -> nodes.Expr:
    """The tree of a bare expression, its names checked. Raises CompileProblem, jinja2.TemplateSyntaxError."""
    from tvmops.playbook.checks import check_names

    env = environment(False)
    parser = Parser(env, text, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        unexpected = str(parser.stream.current.value)
        raise jinja2.TemplateSyntaxError(f"unexpected '{unexpected}'", parser.stream.current.lineno, None, None)
    expression.set_environment(env)
    check_names(env, nodes.Template([nodes.Output([expression])], lineno=1))
    return expression


def compile_expression(expression: nodes.Expr) -> Compiled:
    """The compiled form of a part of what `parse_condition` gave."""
    return _build(environment(False), lambda: nodes.Template([nodes.Output([expression])], lineno=1), None, "")


def _compile_condition(text: str) -> Compiled:
    return _build(
        environment(False), lambda: nodes.Template([nodes.Output([parse_condition(text)])], lineno=1), None, text
    )


def _build(env: PlaybookEnvironment, parse: Any, name: str | None, text: str) -> Compiled:
    from tvmops.playbook.checks import check_names

    try:
        tree = parse()
        check_names(env, tree)
        source = env._generate(tree, name, name)
        code = env._compile(source, name or "<template>")
    except jinja2.TemplateSyntaxError as error:
        raise _syntax_problem(error, text) from None
    except jinja2.UndefinedError as error:
        # Jinja works out what is constant at once: `[] | first + 1`.
        raise CompileProblem(f"template: {error}", "this fails whatever the variables are", 1, "") from None
    except (ValueError, OverflowError, RecursionError, SyntaxError) as error:
        # Jinja hands some oddities on to Python: enormous numbers, brackets nested a hundred deep.
        raise CompileProblem(f"template: {error}", "write it more simply", 1, "") from None
    template = env.template_class.from_code(env, code, {})
    return Compiled(template, len(text) - len(text.rstrip("\n")))


def _syntax_problem(error: jinja2.TemplateSyntaxError, text: str) -> CompileProblem:
    message = (error.message or "syntax error").rstrip(".")
    quoted = [part for part in message.split("'")[1::2] if part in text]
    hint = "check the brackets, quotes and filter pipes" if not isinstance(error, jinja2.TemplateAssertionError) else ""
    return CompileProblem(f"template: {message}", hint, error.lineno or 1, quoted[0] if quoted else "")
