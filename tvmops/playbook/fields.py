"""Reading one mapping of a playbook field by field, collecting complaints instead of stopping at the first."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tvmops.playbook.engine import has_template
from tvmops.playbook.keywords import ANSIBLE_ONLY, BECOME_METHODS, INSTEAD
from tvmops.playbook.names import short_name
from tvmops.playbook.values import Condition, Constant, Value, prepare, prepare_condition
from tvmops.playbook.variables import Written
from tvmops.source import Map, Position, Problems, Seq, did_you_mean

IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
PYTHON_WORDS = frozenset(("True", "False", "None", "and", "or", "not", "if", "else", "in", "is", "for", "import"))
LANGUAGE_HINT = "see docs/language.md for the language that is supported"
KINDS = {
    str: "text",
    bool: "yes or no",
    int: "a number",
    float: "a number",
    list: "a list",
    Seq: "a list",
    Map: "a mapping",
}


def kind_of(value: Any) -> str:
    """What a value is, in a user's words."""
    return "nothing" if value is None else KINDS.get(type(value), type(value).__name__)


class Fields:
    """A play or task mapping, and where to complain."""

    def __init__(self, data: Map, problems: Problems) -> None:
        self.data = data
        self.problems = problems

    def wrong(self, key: str, wanted: str) -> None:
        """Complain about the type of a field."""
        self.problems.add(self.data.at(key), f"'{key}' wants {wanted}, not {kind_of(self.data.get(key))}")

    def text(self, key: str) -> str | None:
        """A plain text (numbers are read as text)."""
        value = self.data.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        self.wrong(key, "text")
        return None

    def template(self, key: str) -> Value | None:
        """A text that may hold templates."""
        value = self.text(key)
        return None if value is None else prepare(value, self.data.at(key), self.problems)

    def flag(self, key: str) -> Value | None:
        """Yes or no, or a template for it."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, str) and has_template(value):
            return prepare(value, self.data.at(key), self.problems)
        word = str(value).lower()
        if word not in ("true", "false", "yes", "no", "on", "off", "1", "0"):
            self.wrong(key, "yes or no")
            return None
        return Constant(word in ("true", "yes", "on", "1"))

    def fixed_flag(self, key: str, *, default: bool) -> bool:
        """Yes or no, without templates."""
        value = self.flag(key)
        if value is None:
            return default
        if not value.constant:
            self.problems.add(self.data.at(key), f"'{key}' wants yes or no, not a template")
            return default
        return bool(value.loose({}))

    def conditions(self, key: str) -> tuple[Condition, ...] | None:
        """One condition or a list of them, all of which must hold."""
        if key not in self.data:
            return None
        value = self.data[key]
        if isinstance(value, Seq):
            pairs = zip(value, value.items_at, strict=True)
            return tuple(prepare_condition(one, at, self.problems) for one, at in pairs)
        return (prepare_condition(value, self.data.at(key), self.problems),)

    def tags(self) -> frozenset[str]:
        """`tags`, as a list or separated by commas."""
        value = self.data.get("tags")
        if value is None:
            return frozenset()
        names: set[str] = set()
        for one in value if isinstance(value, Seq) else [value]:
            if not isinstance(one, (str, int)) or isinstance(one, bool) or has_template(str(one)):
                self.wrong("tags", "a name or a list of names (without templates)")
                continue
            names.update(part.strip() for part in str(one).split(",") if part.strip())
        return frozenset(names)

    def variables(self, key: str = "vars") -> Written:
        """A mapping of variables whose texts may hold templates; their syntax is checked here."""
        value = self.data.get(key)
        if value is None:
            return Written({})
        if not isinstance(value, Map):
            self.wrong(key, "a mapping of names to values")
            return Written({})
        return written(value, self.problems)

    def environment(self) -> tuple[Value, ...]:
        """`environment`: a mapping, a list of mappings, or a template that gives a mapping."""
        value = self.data.get("environment")
        if value is None:
            return ()
        parts = []
        for one in value if isinstance(value, Seq) else [value]:
            if isinstance(one, Map) or (isinstance(one, str) and has_template(one)):
                parts.append(prepare(one, self.data.at("environment"), self.problems))
            else:
                self.problems.add(self.data.at("environment"), f"'environment' wants a mapping, not {kind_of(one)}")
        return tuple(parts)

    def become_method(self) -> Value | None:
        """`become_method`: one of BECOME_METHODS, or a template for it."""
        value = self.template("become_method")
        if value is None or not value.constant:
            return value
        word = self.one_of("become_method", BECOME_METHODS)
        return None if word is None else Constant(word)

    def one_of(self, key: str, choices: Sequence[str]) -> str | None:
        """One of a few words, without templates."""
        value = self.text(key)
        if value is None or short_name(value) in choices:
            return None if value is None else short_name(value)
        at, kind = self.data.at(key), self.data.get(key)
        if has_template(value):
            self.problems.add(at, f"'{key}' cannot be a template", f"known: {', '.join(choices)}")
        else:
            self.problems.add(at, f"{key} '{kind}' is not supported", did_you_mean(value, choices))
        return None

    def number(self, key: str, *, whole: bool = True, percent: bool = False) -> Value | None:
        """A number (with `percent`, also as "30%"), or a template for one."""
        return self.number_of(key, self.data.get(key), self.data.at(key), whole=whole, percent=percent)

    def number_of(
        self, key: str, value: Any, at: Position, *, whole: bool = True, percent: bool = False
    ) -> Value | None:
        """As `number`, for one value of a field."""
        if value is None:
            return None
        if isinstance(value, str) and has_template(value):
            return prepare(value, at, self.problems)
        text = str(value).strip()
        text = text.removesuffix("%") if percent else text
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and _is_number(text, whole):
            return Constant(value)
        wanted = "a whole number" if whole else "a number"
        kind = f"'{value}'" if isinstance(value, (str, int, float)) else kind_of(value)
        self.problems.add(at, f"'{key}' wants {wanted}{' or a percentage' if percent else ''}, not {kind}")
        return None

    def word(self, key: str) -> str | None:
        """A variable's name, without templates."""
        value = self.text(key)
        if value is not None:
            check_name(value, self.data.at(key), self.problems)
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts, without templates."""
        value = self.data.get(key)
        listed = value if isinstance(value, Seq) else [] if value is None else [value]
        if any(not isinstance(one, str) or not one or has_template(one) for one in listed):
            self.wrong(key, "a name or a list of names (without templates)")
            return ()
        return tuple(listed)

    def refuse_unknown(self, known: frozenset[str], kind: str) -> None:
        """Complain about every key that is not one of `known`."""
        for key in self.data:
            if key not in known:
                message, hint = unknown_keyword(key, known, kind)
                self.problems.add(self.data.keys_at[key], message, hint)

    def names(self, key: str) -> Value | None:
        """A name or list of names, each of which may hold templates."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self.wrong(key, "a name or a list of names")
            return None
        return prepare(value, self.data.at(key), self.problems)


def _is_number(text: str, whole: bool) -> bool:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        return False
    return math.isfinite(number)


def written(value: Map, problems: Problems) -> Written:
    """Variables of a file or a `vars:` mapping, checked for names and template syntax."""
    for name in value:
        check_name(name, value.keys_at[name], problems)
    prepare(value, value.position, problems)
    return Written(value)


def merged(*layers: Mapping[Any, Any]) -> Map:
    """Mappings in one, the later ones winning, with the places of what remains."""
    found = Map(next((layer.position for layer in layers if isinstance(layer, Map)), Position("", 1)))
    for layer in layers:
        found.update(layer)
        for key in layer:
            found.keys_at.pop(key, None)
            found.values_at.pop(key, None)
        if isinstance(layer, Map):
            found.keys_at.update(layer.keys_at)
            found.values_at.update(layer.values_at)
    return found


def check_name(name: Any, position: Position, problems: Problems) -> None:
    """Complain about what cannot be a variable's name."""
    if not isinstance(name, str) or not IDENTIFIER.match(name) or name in PYTHON_WORDS:
        problems.add(
            position, f"'{name}' cannot be a variable's name", "letters, digits and _, not beginning with a digit"
        )


def unknown_keyword(key: Any, known: frozenset[str] | Mapping[str, Any], kind: str) -> tuple[str, str]:
    """(message, hint) for a keyword that a play or a task cannot have."""
    name = str(key)
    hint = INSTEAD.get(name) or did_you_mean(name, known)
    if name in ANSIBLE_ONLY or name.startswith("with_"):
        hint = INSTEAD.get(name, LANGUAGE_HINT)
        return f"'{name}' is not supported", hint
    return f"a {kind} has no keyword '{name}'", hint if hint.startswith("did") else ""
