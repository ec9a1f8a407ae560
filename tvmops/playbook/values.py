"""Values as users write them, prepared once: what holds no template is a Constant and costs nothing later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jinja2
from jinja2.utils import missing

from tvmops.playbook.engine import (
    Compiled,
    CompileProblem,
    compile_condition,
    compile_text,
    has_template,
    plain,
)
from tvmops.playbook.faults import Pending, TemplateFault, UndefinedFault, locate
from tvmops.playbook.undefined import OMIT, Missing, UndefinedUsed
from tvmops.source import Map, Position, Problems, Seq, did_you_mean


class Value(Protocol):
    """Something that has a value in a scope."""

    @property
    def constant(self) -> bool:
        """True when no scope can change it."""

    def loose(self, scope: Mapping[str, Any]) -> Any:
        """The value; parts may be Missing. Raises TemplateFault, Pending."""


@dataclass(frozen=True)
class Constant:
    """A value without templates."""

    value: Any
    constant = True

    def loose(self, scope: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return self.value


@dataclass(frozen=True)
class Text:
    """A text with templates in it, and where it stands."""

    text: str
    compiled: Compiled
    position: Position | None
    constant = False

    def loose(self, scope: Mapping[str, Any]) -> Any:
        try:
            value = self.compiled.render(scope)
            if isinstance(value, Missing) and value.fault is None:
                value._used()  # whoever needs it is told where this text stands
            return value
        except UndefinedUsed as error:
            return Missing(name=error.name, fault=undefined_fault(error, self.text, self.position, scope))
        except (Pending, TemplateFault):
            raise
        except jinja2.UndefinedError as error:
            raise TemplateFault(self.position, str(error)) from None
        except Exception as error:
            raise TemplateFault(self.position, _reason(error), f"in: {_shorten(self.text)}") from error


@dataclass(frozen=True)
class Dictionary:
    """A mapping some of whose values hold templates."""

    items: tuple[tuple[Any, Value], ...]
    constant = False

    def loose(self, scope: Mapping[str, Any]) -> Any:
        return {key: value.loose(scope) for key, value in self.items}


@dataclass(frozen=True)
class Sequence:
    """A list some of whose items hold templates."""

    items: tuple[Value, ...]
    constant = False

    def loose(self, scope: Mapping[str, Any]) -> Any:
        return [value.loose(scope) for value in self.items]


def final(value: Value, scope: Mapping[str, Any], position: Position | None = None) -> Any:
    """The value with nothing undefined in it; `omit` only when it is the whole. Raises TemplateFault, Pending."""
    if value.constant:
        return value.loose(scope)
    try:
        return plain(value.loose(scope))
    except UndefinedUsed as error:
        where = getattr(value, "position", position)
        raise undefined_fault(error, getattr(value, "text", ""), where, scope) from None


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:77] + "..."


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text if isinstance(error, jinja2.TemplateError) else f"{text} ({type(error).__name__})"


def undefined_fault(
    error: UndefinedUsed, text: str, position: Position | None, scope: Mapping[str, Any]
) -> TemplateFault:
    """The complaint for an undefined name: the variable's own when its definition is at fault, else this text's."""
    if error.fault is not None:
        return error.fault
    where = position
    # In `list[3]` the name is a number.
    name = error.name if isinstance(error.name, str) else ""
    if position and name:
        where = locate(position, name, part=error.owner is not missing)
    if error.owner is missing and name:
        return UndefinedFault(where, f"'{name}' is undefined", did_you_mean(name, _names(scope)))
    known = [str(key) for key in error.owner] if isinstance(error.owner, Mapping) else []
    hint = did_you_mean(name, known) if name and known else f"in: {_shorten(text)}" if text else ""
    return UndefinedFault(where, str(error), hint)


def _names(scope: Mapping[str, Any]) -> list[str]:
    names = getattr(scope, "names", None)
    # A hint that lists everything known helps nobody: names are offered only when they are near.
    return [*(names() if names else scope), *["_" * 40 + str(n) for n in range(26)]]


def prepare(raw: Any, position: Position | None = None, problems: Problems | None = None) -> Value:
    """Compile every template inside `raw`. Faults go to `problems`; without it the first is raised as TemplateFault."""
    if isinstance(raw, str):
        return _prepare_text(raw, position, problems) if has_template(raw) else Constant(raw)
    if isinstance(raw, Mapping):
        places_of = raw.values_at if isinstance(raw, Map) else {}
        pairs = tuple((key, prepare(one, places_of.get(key, position), problems)) for key, one in raw.items())
        return Constant(raw) if all(value.constant for _, value in pairs) else Dictionary(pairs)
    if isinstance(raw, (list, tuple)):
        places = raw.items_at if isinstance(raw, Seq) else [position] * len(raw)
        items = tuple(prepare(one, place, problems) for one, place in zip(raw, places, strict=True))
        return Constant(raw) if all(value.constant for value in items) else Sequence(items)
    return Constant(raw)


def _prepare_text(raw: str, position: Position | None, problems: Problems | None) -> Value:
    try:
        return Text(raw, compile_text(raw), position)
    except CompileProblem as problem:
        _complain(problem, position, problems)
        return Constant(raw)


def _complain(problem: CompileProblem, position: Position | None, problems: Problems | None) -> None:
    where = locate(position, problem.needle, problem.line - 1) if position else None
    if problems is None or where is None:
        raise TemplateFault(where, problem.message, problem.hint)
    problems.add(where, problem.message, problem.hint)


@dataclass(frozen=True)
class Condition:
    """One `when:`, `changed_when:` or `failed_when:` expression; `compiled` is None for a plain yes or no."""

    text: str
    position: Position
    compiled: Compiled | None
    fixed: bool = False
    indirect: bool = False

    def holds(self, scope: Mapping[str, Any]) -> bool:
        """Its truth. Raises TemplateFault when it is not a boolean, Pending."""
        if self.compiled is None:
            return self.fixed
        result = final(Text(self.text, self.compiled, self.position), scope)
        if self.indirect and isinstance(result, str):
            result = final(Text(result, _condition(result, self.position), self.position), scope)
        if isinstance(result, bool):
            return result
        kind = {"str": "text", "int": "a number", "NoneType": "nothing (null)"}.get(
            type(result).__name__, "not a boolean"
        )
        hint = "compare it, or test it: 'x | bool', 'x | length > 0', 'x is defined'"
        raise TemplateFault(
            self.position, f"the condition '{_shorten(self.text)}' gives {kind}, not true or false", hint
        )


def _condition(text: str, position: Position) -> Compiled:
    try:
        return compile_condition(text)
    except CompileProblem as problem:
        where = locate(position, problem.needle, problem.line - 1)
        raise TemplateFault(where, problem.message.replace("template:", "condition:"), problem.hint) from None


def prepare_condition(raw: Any, position: Position, problems: Problems) -> Condition:
    """Compile one condition; faults go to `problems`."""
    if isinstance(raw, bool):
        return Condition(str(raw), position, None, fixed=raw)
    if not isinstance(raw, str) or not raw.strip():
        shown = "nothing" if raw is None or raw == "" else f"{raw!r}"
        problems.add(position, f"a condition is an expression such as \"x == 'y'\", not {shown}")
        return Condition("true", position, None, fixed=True)
    text = raw.strip()
    try:
        if text.startswith("{{") and text.endswith("}}"):
            # `when: "{{ name_of_an_expression }}"` is Ansible's one allowed use of brackets here.
            return Condition(text, position, compile_text(text), indirect=True)
        return Condition(text, position, _condition(text, position))
    except TemplateFault as fault:
        hint = "a condition is already an expression: write it without {{ }}" if has_template(text) else fault.hint
        problems.add(fault.position or position, fault.problem, hint)
    except CompileProblem as problem:
        _complain(problem, position, problems)
    return Condition(text, position, None, fixed=True)


def all_hold(conditions: tuple[Condition, ...], scope: Mapping[str, Any]) -> Condition | None:
    """The first condition that does not hold, or None when all do. Raises TemplateFault, Pending."""
    for condition in conditions:
        if not condition.holds(scope):
            return condition
    return None


def omitted(value: Any) -> bool:
    """True for `omit`."""
    return value is OMIT
