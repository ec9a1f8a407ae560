"""config.cmake: the options of one build, put together from the stack, the board's profile and the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from tvmops.errors import ConfigError
from tvmops.paths import find_project_file
from tvmops.source import Map
from tvmops.stack.cmake import quote
from tvmops.stack.options import Asked, Option, check_options, known_options
from tvmops.stack.reading import option_value
from tvmops.stack.spec import Stack, Target
from tvmops.stack.versions import release

BOARD_OPTIONS = "tvm_build_options"  # host variable, a mapping like {USE_OPENCL: ON}
TEMPLATE = "templates/config.cmake.j2"
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True)
class Config:
    """A rendered config.cmake: the same text for the same options of the same tree. `options` are all that it sets."""

    text: str
    options: dict[str, str]


def render_config(  # noqa: PLR0917  the six things that make a configuration, in the order of their strength
    stack: Stack,
    target: Target,
    board_vars: Mapping[str, Any],
    overrides: Mapping[str, str],
    tree: Path,
    llvm: str | None = None,
    *,
    exists: Callable[[str], bool] = os.path.exists,
) -> Config:
    """The config.cmake of `target` for boards with the variables `board_vars`, checked against the source tree.

    `overrides` (from --set) are stronger than the boards' `tvm_build_options`, those than the stack's options; `llvm`
    ("/usr/bin/llvm-config-14 --link-static"), which was found on the builder, is put where the stack says USE_LLVM: ON.
    `exists` tells whether any other path exists where the build will be. Raises ConfigError or ConfigErrors that name
    each fault and where it was written.
    """
    asked = {**_of_stack(stack, target, llvm), **_of_board(board_vars), **_of_command_line(overrides)}
    found = (llvm or "").split(" ")[0]
    check_options(asked, tree, release(stack.tag), lambda path: path == found or exists(path))
    known = known_options(tree)
    options = {name: asked[name].value for name in sorted(asked)}
    return Config(_render(stack.tag, target, options, known), options)


def board_options(board_vars: Mapping[str, Any]) -> dict[str, str]:
    """The options that a board's variables ask for. Raises ConfigError."""
    return {name: asked.value for name, asked in _of_board(board_vars).items()}


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """`--set USE_X=Y` given any number of times, as a mapping. Raises ConfigError for what is not NAME=VALUE."""
    found: dict[str, str] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not _NAME.match(name) or option_value(value) is None:
            raise ConfigError(f"--set {setting!r}: this is no option with a value", "write --set USE_OPENCL=ON")
        found[name] = value
    return found


def _of_stack(stack: Stack, target: Target, llvm: str | None) -> dict[str, Asked]:
    options = stack.options.get(target, {})
    if not options:
        raise ConfigError(
            f"{stack.path or stack.name}: stack {stack.name} has no options for the target '{target}'",
            f"it has: {', '.join(stack.options) or 'none, so it cannot be built'}",
        )
    wanted = dict(options)
    if llvm is not None and wanted.get("USE_LLVM") == "ON":
        wanted["USE_LLVM"] = llvm
    return {name: Asked(value, stack.places.get(f"{target}.{name}", stack.path)) for name, value in wanted.items()}


def _of_board(board_vars: Mapping[str, Any]) -> dict[str, Asked]:
    options = board_vars.get(BOARD_OPTIONS) or {}
    if not isinstance(options, Mapping):
        raise ConfigError(f"{BOARD_OPTIONS} in the inventory is {options!r}", "write a mapping: {USE_OPENCL: ON}")
    found = {}
    for name, given in options.items():
        where = str(options.keys_at[name]) if isinstance(options, Map) else f"{BOARD_OPTIONS} in the inventory"
        value = option_value(given)
        if value is None or not isinstance(name, str) or not _NAME.match(name):
            raise ConfigError(f"{where}: {name}: {given!r} is no option with a value", "write USE_OPENCL: ON")
        found[name] = Asked(value, where)
    return found


def _of_command_line(overrides: Mapping[str, str]) -> dict[str, Asked]:
    return {name: Asked(value, f"--set {name}={value}") for name, value in overrides.items()}


def _render(tag: str, target: Target, options: Mapping[str, str], known: Mapping[str, Option]) -> str:
    path = find_project_file(TEMPLATE)
    rows = [
        {"name": name, "value": quote(value), "about": known[name].about or "(no description)"}
        for name, value in sorted(options.items())
    ]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  CMake, not HTML; values are quoted above
    )
    try:
        template = environment.from_string(path.read_text(encoding="utf-8"))
        return template.render(tag=tag, target=target, options=rows)
    except (OSError, jinja2.TemplateError) as error:
        raise ConfigError(f"{path}: {error}", "config.cmake is made from this template") from error
