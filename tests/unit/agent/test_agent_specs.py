"""Argument checking as the controller and the agent use it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvmops.agent.modules import MODULES, load
from tvmops.agent.specs import CONVERTERS, validate

BLOB = {"sha256": "0" * 64, "size": 0}


def problems(name: str, args: dict[str, Any], templated: bool = False) -> list[tuple[str | None, str, str | None]]:
    return [tuple(one) for one in validate(name, args, templated)[1]]


@pytest.mark.parametrize("name", sorted(set(MODULES.values())))
def test_every_module_keeps_the_contract(name: str) -> None:
    accepted = next(key for key, value in MODULES.items() if value == name)
    module = load(accepted)
    assert module.__doc__.startswith((f"{name.rstrip('_')}: ", f"{name.rstrip('_')}, "))
    for option in module.SPEC.values():
        assert option["type"] in CONVERTERS
        assert set(option) <= {"type", "required", "default", "choices", "aliases", "words", "elements"}
        default = option.get("default")
        defaults = default if isinstance(default, list) else [default]
        assert default is None or "choices" not in option or set(defaults) <= set(option["choices"])
    known = {*module.SPEC, "_raw_params", "_blob"}
    for rule in ("required_one_of", "mutually_exclusive", "required_together"):
        for group in getattr(module, "RULES", {}).get(rule, ()):
            assert set(group) <= known
    if getattr(module, "RUNS_ON", "board") == "board":
        assert hasattr(module, "act") != (hasattr(module, "inspect") and hasattr(module, "apply"))
        assert not hasattr(module, "act") or module.CHECK in ("skip", "run")
    if hasattr(module, "EXAMPLE"):
        assert problems(accepted, module.EXAMPLE) == []


@pytest.mark.parametrize("name", sorted(set(MODULES)))
def test_clean_arguments_pass_again_unchanged(name: str) -> None:
    example = getattr(load(name), "EXAMPLE", None)
    if example is not None:
        clean = validate(name, example)[0]
        assert validate(name, clean) == (clean, [])


def test_all_faults_at_once_with_the_nearest_name() -> None:
    found = problems("file", {"paht": "/x", "state": "dir", "mode": 644, "recurse": "maybe"})
    assert [(argument, hint) for argument, _, hint in found] == [
        ("paht", "path"),
        ("mode", None),
        ("path", None),
        ("recurse", None),
        ("state", None),
    ]
    assert problems("file", {"path": "/x", "state": "directry"})[0][2] == "directory"
    assert problems("lineinflie", {})[0][2] == "lineinfile"


def test_aliases_and_free_form() -> None:
    clean, found = validate("lineinfile", {"dest": "/x", "line": 5})
    assert (found, clean["path"], clean["line"], clean["state"]) == ([], "/x", "5", "present")
    assert "twice" in problems("lineinfile", {"dest": "/x", "path": "/y", "line": "z"})[0][1]
    assert problems("shell", {"_raw_params": "echo"}) == []
    assert "free text" in problems("copy", {"_raw_params": "echo", "dest": "/x", "content": ""})[0][1]


def test_rules() -> None:
    assert "needs one of" in problems("copy", {"dest": "/x"})[0][1]
    assert "cannot go with" in problems("copy", {"dest": "/x", "content": "", "src": "y"})[0][1]
    assert "needs src" in problems("file", {"path": "/x", "state": "hard"})[0][1]
    assert "needs line" in problems("lineinfile", {"path": "/x", "regexp": "y"})[0][1]
    assert problems("lineinfile", {"path": "/x", "regexp": "y", "state": "absent"}) == []


def test_arguments_that_may_be_left_out_do_not_exclude_others() -> None:
    either = {"dest": "/x", "content": "{{ c | default(omit) }}", "src": "{{ s | default(omit) }}"}
    assert problems("copy", either, templated=True) == []
    assert "cannot go with" in problems("copy", {**either, "content": "{{ c }}", "src": "y"}, templated=True)[0][1]


def test_templated_values_are_not_looked_into() -> None:
    args = {"path": "{{ p }}", "state": "{{ s }}", "recurse": "{% if x %}yes{% endif %}", "mode": "{{ m }}"}
    assert problems("file", args, templated=True) == []
    assert {argument for argument, _, _ in problems("file", args)} == {"state", "recurse", "mode"}
    assert "'modee'" in problems("file", {**args, "modee": "{{ m }}"}, templated=True)[0][1]
    assert problems("lineinfile", {"path": "/x", "regexp": "y", "state": "{{ s }}"}, templated=True) == []


@pytest.mark.parametrize(
    ("kind", "value", "clean"),
    [
        ("bool", "yes", True),
        ("bool", "Off", False),
        ("bool", 0, False),
        ("int", "42", 42),
        ("float", 1, 1.0),
        ("list", "a, b", ["a", "b"]),
        ("list", 5, ["5"]),
        ("dict", '{"a": 1}', {"a": 1}),
        ("mode", "0644", "0644"),
        ("mode", "644", "0644"),
        ("mode", "0o755", "0755"),
        ("mode", 0o644, "0644"),
        ("mode", "u=rwX,g+s,o=", "u=rwX,g+s,o="),
        ("str", 3.10, "3.1"),
    ],
)
def test_conversions(kind: str, value: object, clean: object) -> None:
    assert CONVERTERS[kind](value) == clean


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bool", "maybe"),
        ("bool", 2),
        ("int", "4.5"),
        ("int", True),
        ("float", "x"),
        ("dict", "a=1"),
        ("list", {"a": 1}),
        ("mode", "0999"),
        ("mode", "preserve"),
        ("mode", 644),
        ("mode", -1),
        ("path", ""),
        ("path", "a\0b"),
        ("str", ["x"]),
    ],
)
def test_refused_values(kind: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        CONVERTERS[kind](value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


calls = st.sampled_from(
    [(name, [*load(name).SPEC, "_blob", "_raw_params", "unknown"]) for name in sorted(MODULES)]
).flatmap(lambda one: st.tuples(st.just(one[0]), st.dictionaries(st.sampled_from(one[1]), json_values, max_size=5)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls)
def test_any_arguments_give_problems_never_exceptions(call: tuple[str, dict[str, Any]]) -> None:
    name, args = call
    clean, found = validate(name, args)
    for argument, message, _ in found:
        assert argument is None or isinstance(argument, str)
        assert message
    if not found:
        assert validate(name, clean) == (clean, [])
