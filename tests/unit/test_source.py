"""YAML with positions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.source import Position, Problems, did_you_mean, load_yaml, parse_yaml

# Control characters are refused by YAML itself; json.dumps would not escape all of them.
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)
JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def test_positions_of_keys_values_and_items() -> None:
    document = parse_yaml("a:\n  - one\n  -   two\nb: {c: 3}\n", "f.yml")
    assert document.keys_at["b"] == Position("f.yml", 4, 1)
    assert document["a"].items_at[1] == Position("f.yml", 3, 7)
    assert str(document["b"].at("c")) == "f.yml:4:8"
    assert document.at("missing") == document.position


@given(JSON_LIKE)
def test_values_are_those_of_a_plain_yaml_reader(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert parse_yaml(text, "f.yml") == yaml.safe_load(text)


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    try:
        parse_yaml(text, "f.yml")
    except ConfigError as error:
        assert str(error).startswith("f.yml:")


def test_anchors_and_merge_keys() -> None:
    document = parse_yaml("x: &base {a: 1, b: 2}\ny:\n  <<: *base\n  b: 3\n", "f.yml")
    assert document["y"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c\n", "f.yml:1:5: YAML: mapping values are not allowed"),
        ("a:\n\t- x\n", "f.yml:2:1: YAML:"),
        ("a: {{ b }}\n", "f.yml:1:5: YAML: a key must be plain text"),
        ("a: 1\na: 2\n", "f.yml:2:1: 'a' is given twice"),
        ("a: 2021-13-45\n", "f.yml:1:4: YAML:"),
        ("a: [1\n", "f.yml:2:1: YAML:"),
        ("--- 1\n--- 2\n", "f.yml:2:1: YAML:"),
        ("a: 1\nb: x\x07\n", "f.yml:2:5: YAML: a control character"),
    ],
)
def test_faults_name_their_place(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yml")
    assert str(caught.value).startswith(expected)


def test_missing_and_undecodable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yml: cannot read: No such file"):
        load_yaml(tmp_path / "no.yml")
    (tmp_path / "latin.yml").write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_yaml(tmp_path / "latin.yml")


def test_problems_are_told_together() -> None:
    problems = Problems()
    problems.raise_if_any()
    problems.add(Position("f", 1), "one")
    with pytest.raises(ConfigError, match="f:1:1: one"):
        problems.raise_if_any()
    problems.add(Position("f", 2), "two", "mend it")
    with pytest.raises(ConfigErrors) as caught:
        problems.raise_if_any()
    assert str(caught.value) == "f:1:1: one\nf:2:1: two\n  mend it"


def test_nearest_name() -> None:
    assert did_you_mean("hsots", ["hosts", "vars"]) == "did you mean 'hosts'?"
    assert did_you_mean("zzz", ["hosts", "vars"]) == "known: hosts, vars"
