"""YAML that remembers where everything stood, so that every complaint names file:line:column."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tvmops.errors import ConfigError, ConfigErrors

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Position:
    """A place in a user's file. `line` and `column` count from 1."""

    path: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Map(dict[Any, Any]):
    """A YAML mapping. `position` is its start; `keys_at[key]` and `values_at[key]` are where those stand."""

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position
        self.keys_at: dict[Any, Position] = {}
        self.values_at: dict[Any, Position] = {}

    def at(self, key: Any) -> Position:
        """Where the value of `key` stands, or the mapping itself when there is no such key."""
        return self.values_at.get(key, self.position)


class Seq(list[Any]):
    """A YAML sequence. `position` is its start; `items_at[i]` is where item i stands."""

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position
        self.items_at: list[Position] = []


class Problems:
    """Collects complaints so that a user sees all the faults of a file at once."""

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    def add(self, position: Position, message: str, hint: str = "") -> None:
        """Note a fault; checking goes on."""
        self.errors.append(ConfigError(f"{position}: {message}", hint))

    def raise_if_any(self) -> None:
        """Raise ConfigErrors (or the single ConfigError) when anything was noted."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise ConfigErrors(self.errors)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint naming the nearest known name, or listing them when none is near and they are few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names)}" if 0 < len(names) <= 25 else ""


def load_yaml(path: str | Path) -> Any:
    """The documents's value with Map and Seq for containers; None for an empty file. Raises ConfigError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror}", "check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error
    except ValueError as error:  # a NUL or half a surrogate in the name
        shown = str(path).encode("unicode_escape").decode("ascii")
        raise ConfigError(f"{shown}: cannot read: no file can have this name", "correct the name") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """As load_yaml, for text that came from `name`."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _construct(loader, node, name)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = error.problem or error.context or "not valid YAML"
        raise ConfigError(f"{Position(name, line, column)}: YAML: {problem}", _yaml_hint(problem)) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Position(name, before.count("\n") + 1, error.position - before.rfind("\n"))
        hint = "remove it, or write it as an escape in a quoted value"
        raise ConfigError(f"{place}: YAML: a control character is not allowed here", hint) from error


def _yaml_hint(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "a value that contains ': ' needs quotes"
    if "found character '\\t'" in problem or "cannot start any token" in problem:
        return "indent with spaces, and quote values that begin with a special character"
    return "check the indentation and quotes of this line and the one before it"


def _construct(loader: Any, node: yaml.Node, name: str) -> Any:
    here = Position(name, node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        return _construct_map(loader, node, name, here)
    if isinstance(node, yaml.SequenceNode):
        seq = Seq(here)
        for item in node.value:
            seq.append(_construct(loader, item, name))
            seq.items_at.append(Position(name, item.start_mark.line + 1, item.start_mark.column + 1))
        return seq
    return _scalar(loader, node, here)


def _scalar(loader: Any, node: yaml.Node, here: Position) -> Any:
    try:
        return loader.construct_object(node)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{here}: YAML: {problem}") from error
    except ValueError as error:
        raise ConfigError(f"{here}: YAML: {error}", "quote the value if it is meant as text") from error


def _construct_map(loader: Any, node: yaml.MappingNode, name: str, here: Position) -> Map:
    duplicate = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
    loader.flatten_mapping(node) if "<<" in duplicate else None
    result = Map(here)
    merged = "<<" in duplicate
    for key_node, value_node in node.value:
        at = Position(name, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        key = _scalar(loader, key_node, at) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{at}: YAML: a key must be plain text", "quote values that begin with '{{'")
        if key in result and not merged:
            raise ConfigError(
                f"{at}: '{key}' is given twice (first at line {result.keys_at[key].line})", "keep one of them"
            )
        result[key] = _construct(loader, value_node, name)
        result.keys_at[key] = at
        result.values_at[key] = Position(name, value_node.start_mark.line + 1, value_node.start_mark.column + 1)
    return result
