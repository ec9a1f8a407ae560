"""The catalogue of failed builds: which known failure a log shows, why it happens, what helps."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import ConfigError
from tvmops.paths import project_root
from tvmops.source import Map, Problems, Seq, load_yaml

TEXTS = ("title", "cause", "fix", "action")
# gcc's quotes in a UTF-8 locale, as patterns write them.
PLAIN_QUOTES = str.maketrans("\u2018\u2019", "''")


@dataclass(frozen=True)
class Failure:
    """One kind of failed build. `action` is what tvmops does about it by itself, "" for nothing."""

    id: str
    title: str
    cause: str
    fix: str
    action: str
    patterns: tuple[re.Pattern[str], ...]

    def shows_in(self, line: str) -> bool:
        """Whether a line of a log is of this kind."""
        return any(pattern.search(line) for pattern in self.patterns)


@dataclass(frozen=True)
class Diagnosis:
    """A failure that was recognised, and the line that shows it."""

    failure: Failure
    line: str

    @property
    def id(self) -> str:
        """The failure's name in the catalogue: "B11"."""
        return self.failure.id

    @property
    def cause(self) -> str:
        """Why it happened."""
        return self.failure.cause

    @property
    def fix(self) -> str:
        """What a person does about it."""
        return self.failure.fix

    def __str__(self) -> str:
        return f"{self.id}: {self.failure.title}: {self.cause} {self.fix}"


def diagnose(log: str | Iterable[str]) -> Diagnosis | None:
    """The known failure that a log (its text, or its lines) shows first; None when it shows none."""
    known = failures().values()
    for line in log.splitlines() if isinstance(log, str) else log:
        for failure in known:
            if failure.shows_in(line.translate(PLAIN_QUOTES)):
                return Diagnosis(failure, line.strip())
    return None


@functools.cache
def failures() -> dict[str, Failure]:
    """The whole catalogue by id. Raises ConfigError when stacks/failures.yml is damaged."""
    return read_failures(project_root() / "stacks" / "failures.yml")


def read_failures(path: Path) -> dict[str, Failure]:
    """The catalogue in a file. Raises ConfigError (ConfigErrors for several faults)."""
    document = load_yaml(path)
    if not isinstance(document, Map):
        raise ConfigError(f"{path}:1:1: a catalogue of failures maps ids to what is known of them")
    problems = Problems()
    found = {str(name): _failure(str(name), document, problems) for name in document}
    problems.raise_if_any()
    return found


def _failure(name: str, document: Map, problems: Problems) -> Failure:
    entry = document[name]
    if not isinstance(entry, Map):
        problems.add(document.at(name), f"{name} must have {', '.join(TEXTS)} and patterns")
        return Failure(name, "", "", "", "", ())
    for key in entry:
        if key not in (*TEXTS, "patterns"):
            problems.add(entry.keys_at[key], f"{name}: unknown key '{key}'", f"known: {', '.join(TEXTS)}, patterns")
    for key in TEXTS:
        if not isinstance(entry.get(key), str) or (key != "action" and not entry[key]):
            problems.add(entry.at(key), f"{name}: '{key}' must be text")
    title, cause, fix, action = (str(entry.get(key, "")) for key in TEXTS)
    return Failure(name, title, cause, fix, action, _patterns(name, entry, problems))


def _patterns(name: str, entry: Map, problems: Problems) -> tuple[re.Pattern[str], ...]:
    items = entry.get("patterns")
    if not isinstance(items, Seq) or not items:
        problems.add(entry.at("patterns"), f"{name}: 'patterns' must be a list of at least one regular expression")
        return ()
    compiled = []
    for index, item in enumerate(items):
        try:
            compiled.append(re.compile(str(item)))
        except re.error as error:
            problems.add(items.items_at[index], f"{name}: '{item}' is no regular expression: {error}")
    return tuple(compiled)
