"""Reading one mapping of a playbook field by field, collecting complaints instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tvmops.playbook.engine import has_template
from tvmops.playbook.keywords import ANSIBLE_ONLY, INSTEAD
from tvmops.playbook.values import Condition, Constant, Value, prepare, prepare_condition
from tvmops.playbook.variables import Written
from tvmops.source import Map, Position, Problems, Seq, did_you_mean

IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
PYTHON_WORDS = frozenset(("True", "False", "None", "and", "or", "not", "if", "else", "in", "is", "for", "import"))
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

    def become_method(self) -> None:
        """`become_method` may only be sudo."""
        value = self.data.get("become_method")
        if value is not None and value != "sudo":
            self.problems.add(self.data.at("become_method"), f"become_method '{value}' is not supported", "use sudo")

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


def written(value: Map, problems: Problems) -> Written:
    """Variables of a file or a `vars:` mapping, checked for names and template syntax."""
    for name in value:
        check_name(name, value.keys_at[name], problems)
    prepare(value, value.position, problems)
    return Written(value)


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
        hint = INSTEAD.get(name, "see docs/getting-started.md for the language that is supported")
        return f"'{name}' is not supported", hint
    return f"a {kind} has no keyword '{name}'", hint if hint.startswith("did") else ""
