"""What a sweep file says about tuning: which kinds of code are compared, and how trials are spent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tvmops.bench import fields
from tvmops.errors import ConfigError
from tvmops.paths import user_path
from tvmops.source import Map, Problems, did_you_mean
from tvmops.worker.failures import JobError
from tvmops.worker.tuning import logs

METHODS = ("autotvm", "ansor", "meta_schedule")
CHOICES = ("none", "tophub", *METHODS)
TUNERS = ("xgb", "ga", "random", "gridsearch")
TUNERS_OF = {"autotvm": TUNERS, "ansor": ("xgb", "random"), "meta_schedule": ("xgb", "ga", "random")}
RUNNERS = ("boards", "local")
# The API generation that a choice belongs to; the others fit both.
GENERATION = {"tophub": "relay", "autotvm": "relay", "ansor": "relay", "meta_schedule": "relax"}
LOG = "log:"
# The whole numbers of `tune`, each with its smallest value.
LEAST = {
    "trials": 1,
    "tasks": 1,
    "early_stopping": 1,
    "builders": 1,
    "timeout": 1,
    "number": 1,
    "repeat": 1,
    "min_repeat_ms": 0,
}


@dataclass(frozen=True)
class TuneSettings:
    """How trials are spent. `trials` is per task; `tasks` is how many are tuned (None: all); `timeout` in seconds."""

    tuner: str = "xgb"
    trials: int = 64
    tasks: int | None = None
    early_stopping: int | None = None
    builders: int = 1
    timeout: int | None = None
    transfer: bool = True
    number: int = 1
    repeat: int = 3
    min_repeat_ms: int = 100
    runner: str = "boards"

    def document(self) -> dict[str, Any]:
        """As JSON, for job keys and job.json."""
        return asdict(self)


@dataclass(frozen=True)
class TuningChoice:
    """One value of the axis `tuning`. A log has a path, the method that wrote it, and its content's sha256."""

    name: str = "none"
    method: str | None = None
    path: str | None = None
    sha256: str | None = None

    @property
    def searches(self) -> bool:
        """Whether trials are measured for it."""
        return self.name in METHODS

    def inputs(self) -> dict[str, Any] | None:
        """Its part of a compile job's key; None where nothing is applied."""
        if self.name == "none":
            return None
        return {"kind": "log" if self.path and self.name != "tophub" else self.name, "sha256": self.sha256}


NO_TUNING = TuningChoice()


def read_settings(data: Map, problems: Problems) -> TuneSettings:
    """The section `tune`."""
    known = (*LEAST, "tuner", "transfer", "runner")
    section = fields.section(data, "tune", known, problems)
    values: dict[str, Any] = {}
    for key, least in LEAST.items():
        if section.get(key) is not None and fields.whole_number(section, key, least, problems):
            values[key] = section[key]
    for key, words in (("tuner", TUNERS), ("runner", RUNNERS)):
        word = fields.text(section, key, problems)
        if word and word not in words:
            problems.add(section.at(key), f"unknown {key} '{word}'", did_you_mean(word, words))
        elif word:
            values[key] = word
    if section.get("transfer") is not None:
        if isinstance(section["transfer"], bool):
            values["transfer"] = section["transfer"]
        else:
            problems.add(section.at("transfer"), "'transfer' must be true or false")
    return TuneSettings(**values)


def read_choices(data: Map, folder: Path, problems: Problems) -> tuple[TuningChoice, ...]:
    """The axis `tuning`; logs are looked for in `folder`, where the sweep file is."""
    found = []
    for word in fields.choices(data, "tuning", (), ("none",), problems):
        try:
            found.append(choice(word, folder))
        except ConfigError as error:
            problems.add(data.at("tuning"), error.message, error.hint)
    return tuple(found) or (NO_TUNING,)


def choice(word: str, folder: Path) -> TuningChoice:
    """The choice that `word` names: one of CHOICES, or log:FILE. Raises ConfigError."""
    if not word.startswith(LOG):
        if word not in CHOICES:
            raise ConfigError(f"unknown tuning '{word}'", did_you_mean(word, CHOICES) or "or log:FILE")
        return TuningChoice(word, word if word in METHODS else None)
    path = (folder / user_path(word[len(LOG) :])).absolute()
    if not path.exists():
        raise ConfigError(
            f"no such tuning log: {path}", "paths are relative to the sweep file, on the command line to this folder"
        )
    try:
        method = logs.method_of(path)
    except JobError as error:
        raise ConfigError(error.message) from error
    if method is None:
        raise ConfigError(f"{path}: holds no tuning record", "it is no log of AutoTVM, auto_scheduler or MetaSchedule")
    return TuningChoice(word, method, str(path), logs.log_sha256(path))
