"""lookup(), query() and now(): what a template may read on the controller."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2.runtime import Context

from tvmops.playbook.names import BUILTIN
from tvmops.playbook.undefined import Missing
from tvmops.source import did_you_mean


class LookupFailed(jinja2.TemplateRuntimeError):
    """A lookup found nothing."""


def _env(_context: Context, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [os.environ.get(str(term), options.get("default", "")) for term in terms]


def _find(context: Context, folder: str, name: str) -> Path:
    from tvmops.playbook.files import find_file

    reading = context.resolve_or_missing("_reading_files")
    if callable(reading):
        reading()
    found = find_file(name, folder, context.resolve("ansible_search_path"))
    if found is None:
        raise LookupFailed(f"lookup('{folder.rstrip('s')}'): cannot find '{name}'")
    return found


def _file(context: Context, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    texts = []
    for term in terms:
        text = _find(context, "files", str(term)).read_text(encoding="utf-8")
        text = text.rstrip() if options.get("rstrip", True) else text
        texts.append(text.lstrip() if options.get("lstrip", False) else text)
    return texts


def _template(context: Context, terms: list[Any], _options: dict[str, Any]) -> list[Any]:
    from tvmops.playbook.files import render_file

    return [render_file(_find(context, "templates", str(term)), context.get_all(), {}) for term in terms]


def _vars(context: Context, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    values = []
    for term in terms:
        value = context.resolve(str(term))
        if isinstance(value, Missing):
            value = options["default"] if "default" in options else value._used()
        values.append(value)
    return values


LOOKUPS: dict[str, Callable[[Context, list[Any], dict[str, Any]], list[Any]]] = {
    "env": _env,
    "file": _file,
    "template": _template,
    "vars": _vars,
}
REFUSED: Mapping[str, str] = {
    "pipe": "commands do not run on the controller; use a command task and register",
    "lines": "commands do not run on the controller; use a command task and register",
    "url": "the controller fetches nothing; use a get_url task",
    "password": "give the password in a variable or the environment",
}


@jinja2.pass_context
def query(context: Context, name: str, *terms: Any, **options: Any) -> list[Any]:
    """The list that a lookup gives."""
    short = str(name).removeprefix(BUILTIN)
    options.pop("wantlist", None)
    mode = options.pop("errors", "strict")
    if short not in LOOKUPS:
        raise LookupFailed(f"there is no lookup '{name}'; {REFUSED.get(short) or did_you_mean(short, LOOKUPS)}")
    flat = [one for term in terms for one in (term if isinstance(term, list) else [term])]
    try:
        return LOOKUPS[short](context, flat, options)
    except (LookupFailed, OSError):
        if mode in ("ignore", "warn"):
            return []
        raise


@jinja2.pass_context
def lookup(context: Context, name: str, *terms: Any, **options: Any) -> Any:
    """What a lookup gives: one value as itself, several joined with commas."""
    want_list = bool(options.get("wantlist", False))
    values = query(context, name, *terms, **options)
    if want_list:
        return values
    if len(values) == 1:
        return values[0]
    return ",".join(str(one) for one in values)


def now(utc: bool = False, fmt: str | None = None) -> Any:
    """The controller's time."""
    moment = datetime.datetime.now(datetime.timezone.utc) if utc else datetime.datetime.now()
    return moment.strftime(fmt) if fmt else moment


def undef(hint: str | None = None) -> Missing:
    """An undefined value, for templates that want to say why."""
    return Missing(hint or "a mandatory variable has not been given")


GLOBALS: dict[str, Any] = {"lookup": lookup, "query": query, "q": query, "now": now, "undef": undef}
