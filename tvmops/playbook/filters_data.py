"""Filters for data: JSON, YAML, dictionaries, lists and sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2.filters
import yaml

TRUE_WORDS = frozenset(("yes", "on", "true", "1"))


def plain(value: Any) -> Any:
    """engine.plain, imported late because the engine imports the filters."""
    from tvmops.playbook.engine import plain as to_plain

    return to_plain(value)


def to_bool(value: Any) -> bool:
    """Ansible's reading of yes/no words and 0/1."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.lower() in TRUE_WORDS
    return bool(value == 1)


def to_json(value: Any, **options: Any) -> str:
    """Compact JSON, or as json.dumps's options say."""
    return json.dumps(plain(value), **options)


def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    """Indented JSON with sorted keys."""
    options.pop("separators", None)
    return json.dumps(plain(value), indent=indent, sort_keys=sort_keys, separators=(",", ": "), **options)


def from_json(text: str, **options: Any) -> Any:
    """The value that JSON text stands for."""
    return json.loads(text, **options)


class _Dumper(yaml.SafeDumper):
    """Multi-line text as literal blocks is left to PyYAML; only aliases are avoided."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    """YAML as PyYAML writes it."""
    options.setdefault("allow_unicode", True)
    return str(yaml.dump(plain(value), Dumper=_Dumper, default_flow_style=default_flow_style, **options))


def to_nice_yaml(value: Any, indent: int = 4, **options: Any) -> str:
    """YAML in block style."""
    options.pop("default_flow_style", None)
    return to_yaml(value, default_flow_style=False, indent=indent, **options)


def from_yaml(text: Any) -> Any:
    """The value that YAML text stands for; other values as they are."""
    return yaml.safe_load(text) if isinstance(text, str) else text


def from_yaml_all(text: Any) -> list[Any]:
    """The values of all the documents in YAML text."""
    return list(yaml.safe_load_all(text)) if isinstance(text, str) else []


_LIST_MERGES: dict[str, Callable[[list[Any], list[Any]], list[Any]]] = {
    "replace": lambda _old, new: new,
    "keep": lambda old, _new: old,
    "append": lambda old, new: old + new,
    "prepend": lambda old, new: new + old,
    "append_rp": lambda old, new: [one for one in old if one not in new] + new,
    "prepend_rp": lambda old, new: new + [one for one in old if one not in new],
}


def _merge(old: Mapping[Any, Any], new: Mapping[Any, Any], recursive: bool, list_merge: str) -> dict[Any, Any]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        if recursive and isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(before, value, recursive, list_merge)
        elif isinstance(before, list) and isinstance(value, list):
            merged[key] = _LIST_MERGES[list_merge](before, value)
        else:
            merged[key] = value
    return merged


def combine(*terms: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    """One dictionary from several; the later ones win."""
    if list_merge not in _LIST_MERGES:
        raise jinja2.TemplateRuntimeError(f"combine: list_merge is none of {', '.join(_LIST_MERGES)}")
    result: dict[Any, Any] = {}
    for one in flatten(list(terms), levels=1):
        if not isinstance(one, Mapping):
            raise jinja2.TemplateRuntimeError(f"combine: wants dictionaries, not {type(one).__name__}")
        result = _merge(result, one, recursive, list_merge)
    return result


def dict2items(value: Any, key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    """A dictionary as a list of {key, value}."""
    if not isinstance(value, Mapping):
        raise jinja2.TemplateRuntimeError(f"dict2items: wants a dictionary, not {type(value).__name__}")
    return [{key_name: key, value_name: one} for key, one in value.items()]


def items2dict(value: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    """The other way round."""
    try:
        return {one[key_name]: one[value_name] for one in value}
    except (KeyError, TypeError):
        needed = f"'{key_name}' and '{value_name}'"
        raise jinja2.TemplateRuntimeError(f"items2dict: wants a list of dictionaries with {needed}") from None


def flatten(value: Iterable[Any], levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    """Lists inside lists brought to one level (or `levels` fewer); nulls left out."""
    result: list[Any] = []
    for one in value:
        if skip_nulls and (one is None or (isinstance(one, str) and one in ("None", "null"))):
            continue
        if isinstance(one, (list, tuple)) and (levels is None or levels >= 1):
            result.extend(flatten(one, None if levels is None else levels - 1, skip_nulls))
        else:
            result.append(one)
    return result


@jinja2.pass_environment
def unique(
    environment: jinja2.Environment, value: Any, case_sensitive: bool | None = None, attribute: str | None = None
) -> list[Any]:
    """The distinct values in their first order; unhashable ones too."""
    if attribute is not None or case_sensitive is False:
        return list(jinja2.filters.do_unique(environment, value, bool(case_sensitive), attribute))
    result: list[Any] = []
    for one in value:
        if one not in result:
            result.append(one)
    return result


def _distinct(values: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    for one in values:
        if one not in result:
            result.append(one)
    return result


def union(first: list[Any], second: list[Any]) -> list[Any]:
    """Values of either list."""
    return _distinct([*first, *second])


def intersect(first: list[Any], second: list[Any]) -> list[Any]:
    """Values of both lists."""
    return _distinct(one for one in first if one in second)


def difference(first: list[Any], second: list[Any]) -> list[Any]:
    """Values of the first list that are not in the second."""
    return _distinct(one for one in first if one not in second)


def symmetric_difference(first: list[Any], second: list[Any]) -> list[Any]:
    """Values of exactly one of the lists."""
    return difference(union(first, second), intersect(first, second))


def subelements(value: Any, names: str | list[str], skip_missing: bool = False) -> list[list[Any]]:
    """Pairs of each element and each item of a list inside it."""
    elements = list(value.values()) if isinstance(value, Mapping) else list(value)
    path = names.split(".") if isinstance(names, str) else names
    pairs: list[list[Any]] = []
    for element in elements:
        inner = element
        for name in path:
            if skip_missing and name not in inner:
                inner = []
                break
            try:
                inner = inner[name]
            except (KeyError, TypeError):
                raise jinja2.TemplateRuntimeError(f"subelements: no '{name}' in {inner!r}") from None
        if not isinstance(inner, list):
            raise jinja2.TemplateRuntimeError(f"subelements: '{'.'.join(path)}' is not a list")
        pairs.extend([element, one] for one in inner)
    return pairs


FILTERS: dict[str, Callable[..., Any]] = {
    "bool": to_bool,
    "to_json": to_json,
    "to_nice_json": to_nice_json,
    "from_json": from_json,
    "to_yaml": to_yaml,
    "to_nice_yaml": to_nice_yaml,
    "from_yaml": from_yaml,
    "from_yaml_all": from_yaml_all,
    "combine": combine,
    "dict2items": dict2items,
    "items2dict": items2dict,
    "flatten": flatten,
    "unique": unique,
    "union": union,
    "intersect": intersect,
    "difference": difference,
    "symmetric_difference": symmetric_difference,
    "subelements": subelements,
}
