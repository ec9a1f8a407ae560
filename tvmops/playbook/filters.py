"""Ansible's filters, as far as playbooks commonly use them. FILTERS is the registry."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jinja2.filters

from tvmops.playbook import filters_data, filters_path, filters_text
from tvmops.playbook.undefined import Missing


class FilterError(jinja2.TemplateRuntimeError):
    """A filter was given something it cannot work with."""


def default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    """`default_value` when the value is undefined (with `boolean`: also when it is false)."""
    if isinstance(value, Missing):
        value.check()
        return default_value
    if boolean and not value:
        return default_value
    return value


def mandatory(value: Any, msg: str | None = None) -> Any:
    """The value; fails with `msg` when it is undefined."""
    if isinstance(value, Missing):
        if msg is not None:
            raise FilterError(str(msg))
        value._used()
    return value


def ternary(value: Any, true_val: Any, false_val: Any, none_val: Any = None) -> Any:
    """One of two values by the truth of a third."""
    if value is None and none_val is not None:
        return none_val
    return true_val if bool(value) else false_val


def type_debug(value: Any) -> str:
    """The Python type's name."""
    if isinstance(value, Missing):
        return "AnsibleUndefined"
    # What YAML files give are subclasses that know their positions; nobody needs to see that.
    known = next((kind for kind in (dict, list) if isinstance(value, kind)), type(value))
    return known.__name__


def _listed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Jinja's generator filters give lists: a generator can be read only once, and has no length."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> list[Any]:
        return list(function(*args, **kwargs))

    return wrapped


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """itertools functions as filters whose rows are lists."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> list[Any]:
        return [list(row) for row in function(*args, **kwargs)]

    return wrapped


@jinja2.pass_environment
def extract(environment: jinja2.Environment, key: Any, container: Any, morekeys: Any = None) -> Any:
    """container[key], then [each of morekeys]."""
    more = [] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys]
    for one in [key, *more]:
        container = environment.getitem(container, one)
    return container


_JINJA_LISTS = ("map", "select", "reject", "selectattr", "rejectattr", "batch", "slice", "items")

FILTERS: dict[str, Callable[..., Any]] = {
    "default": default,
    "d": default,
    "mandatory": mandatory,
    "ternary": ternary,
    "type_debug": type_debug,
    "extract": extract,
    "zip": _each(zip),
    "zip_longest": _each(itertools.zip_longest),
    "product": _each(itertools.product),
    "permutations": _each(itertools.permutations),
    "combinations": _each(itertools.combinations),
    **{name: _listed(jinja2.filters.FILTERS[name]) for name in _JINJA_LISTS},
    **filters_data.FILTERS,
    **filters_path.FILTERS,
    **filters_text.FILTERS,
}

_FACT_HINT = "compute it on the board with a task and register"
REFUSED: Mapping[str, str] = {
    "password_hash": "give the hash itself (mkpasswd -m sha-512); a salted hash differs in every run",
    "vault": "encrypted values are not supported; read secrets from the environment with lookup('env', 'NAME')",
    "unvault": "encrypted values are not supported; read secrets from the environment with lookup('env', 'NAME')",
    "realpath": "the path is on the board, not here; use a stat task and register",
    "expandvars": "use lookup('env', 'NAME') for the controller, ansible_env for the board",
    "random": "a random value differs in every run, so nothing would ever be unchanged",
    "shuffle": "a random order differs in every run, so nothing would ever be unchanged",
    "fileglob": _FACT_HINT,
}
