"""The modules' argument specs, which live with the agent because one spec serves both sides."""

from __future__ import annotations

from typing import Any, NamedTuple

from tvmops.agent import modules, specs

_validate: Any = specs.validate
_load: Any = modules.load
# `mode: preserve` means the mode of the file here, so no board ever sees the word.
PRESERVES_MODE = ("copy", "template")
NAMES: dict[str, str] = modules.MODULES


class SpecProblem(NamedTuple):
    """A fault in a module's arguments; `nearest` is a known name that may have been meant."""

    argument: str | None
    message: str
    nearest: str | None


def validate(module: str, args: dict[str, Any], templated: bool = False) -> tuple[dict[str, Any], list[SpecProblem]]:
    """(arguments of the right types under their own names, faults). With `templated`, templates are let through."""
    if module in PRESERVES_MODE and args.get("mode") == "preserve":
        args = {**args, "mode": None}
    clean, problems = _validate(module, args, templated=templated)
    return clean, [SpecProblem(one[0], one[1].replace("_raw_params", "a command line"), one[2]) for one in problems]


def free_form(module: str) -> bool:
    """True for modules that take a command line."""
    return bool(getattr(_load(module), "FREE_FORM", False))


def aliases(module: str) -> dict[str, str]:
    """Other names of arguments -> the module's own."""
    return {alias: key for key, option in _load(module).SPEC.items() for alias in option.get("aliases", ())}
