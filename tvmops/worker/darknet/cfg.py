"""darknet's network description: sections of `key=value` lines. Every complaint names file and line."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple

from ..failures import JobError

NETS = ("net", "network")
SIZES = ("width", "height", "channels")


class Option(NamedTuple):
    """One value and where it stands."""

    text: str
    line: int


class Section:
    """One `[kind]` with its options. Reading an option with a wrong value raises JobError (BadInput)."""

    def __init__(self, file: str, kind: str, line: int) -> None:
        self.file = file
        self.kind = kind
        self.line = line
        self.options: Dict[str, Option] = {}

    def fault(self, message: str, key: str = "", kind: str = "BadInput") -> JobError:
        """The error to raise, at the option's line or the section's."""
        line = self.options[key].line if key in self.options else self.line
        return JobError(kind, f"{self.file}:{line}: {message}")

    def number(self, key: str, default: Any, least: int = 0) -> int:
        """A whole number of at least `least`."""
        found = self._read(key, default, int, "a whole number")
        if found < least:
            raise self.fault(f"'{key}' of [{self.kind}] must be at least {least}, not {found}", key)
        return int(found)

    def decimal(self, key: str, default: float) -> float:
        """A finite number."""
        found = float(self._read(key, default, float, "a number"))
        if not math.isfinite(found):
            raise self.fault(f"'{key}' of [{self.kind}] must be finite, not {found}", key)
        return found

    def text(self, key: str, default: str) -> str:
        """A word."""
        return self.options[key].text if key in self.options else default

    def flag(self, key: str) -> bool:
        """0 or 1; 0 unless given."""
        return self.number(key, 0) != 0

    def numbers(self, key: str) -> List[int]:
        """Whole numbers with commas between; [] unless given."""
        return [int(item) for item in self._items(key, int, "whole numbers")]

    def decimals(self, key: str) -> List[float]:
        """Numbers with commas between; [] unless given."""
        return [float(item) for item in self._items(key, _finite, "numbers")]

    def _items(self, key: str, read: Callable[[str], Any], what: str) -> List[Any]:
        if key not in self.options:
            return []
        text = self.options[key].text.rstrip(", ")
        try:
            return [read(part.strip()) for part in text.split(",")]
        except ValueError:
            raise self.fault(
                f"'{key}' of [{self.kind}] must be {what} with commas between, not '{text}'", key
            ) from None

    def _read(self, key: str, default: Any, read: Callable[[str], Any], what: str) -> Any:
        if key not in self.options:
            if default is None:
                raise self.fault(f"[{self.kind}] needs '{key}'")
            return default
        try:
            return read(self.options[key].text)
        except ValueError:
            raise self.fault(f"'{key}' of [{self.kind}] must be {what}, not '{self.options[key].text}'", key) from None


def parse(text: str, file: str) -> List[Section]:
    """The sections, [net] first. `file` is its name for messages. Raises JobError (BadInput)."""
    sections: List[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            sections.append(_section(file, number, line))
        elif not sections:
            raise JobError("BadInput", f"{file}:{number}: '{_short(line)}' stands before the first [section]")
        else:
            _option(sections[-1], number, line)
    if not sections:
        raise JobError("BadInput", f"{file}: no darknet cfg: it has no [section]")
    if sections[0].kind not in NETS:
        raise sections[0].fault(f"the first section must be [net], not [{sections[0].kind}]")
    if len(sections) == 1:
        raise sections[0].fault("the network has no layers")
    return sections


def _section(file: str, number: int, line: str) -> Section:
    if not line.endswith("]") or not line[1:-1].strip():
        raise JobError("BadInput", f"{file}:{number}: '{_short(line)}' is no [section]")
    return Section(file, line[1:-1].strip().lower(), number)


def _option(section: Section, number: int, line: str) -> None:
    key, equals, value = (part.strip() for part in line.partition("="))
    # A comment may follow the value; no value of darknet's has a '#' in it.
    value = value.split("#")[0].strip()
    if not (equals and key and value):
        raise JobError("BadInput", f"{section.file}:{number}: '{_short(line)}' is neither key=value nor [section]")
    if key in section.options and section.kind in NETS and key not in SIZES:
        return  # published cfgs have a line for training and one for testing; darknet takes the first
    if key in section.options:
        first = section.options[key].line
        raise JobError("BadInput", f"{section.file}:{number}: '{key}' is given twice (first at line {first})")
    section.options[key] = Option(value, number)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
