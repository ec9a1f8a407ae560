"""Build keys: equal inputs give one key, whatever their order; any other input gives another key."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tvmops.stack.build_key import BuildInputs

TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(TEXT, VALUES, max_size=4)
INPUTS = st.builds(
    BuildInputs,
    stack=TEXT,
    source=MAPPINGS,
    config=TEXT,
    toolchain=MAPPINGS,
    machine=TEXT,
    target=st.sampled_from(["runtime", "full"]),
    build_type=TEXT,
    libraries=st.dictionaries(TEXT, TEXT, max_size=3),
    recipe=MAPPINGS,
)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(list(value))}
    return [reordered(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=50)
@given(INPUTS)
def test_the_order_of_names_does_not_count(inputs: BuildInputs) -> None:
    fields = {field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)}
    again = BuildInputs(**reordered(fields))
    assert again.key() == inputs.key()
    assert len(inputs.key()) == 16 and int(inputs.key(), 16) >= 0


def exact(value: Any) -> Any:
    """Comparable so that True is not 1."""
    if isinstance(value, dict):
        return {name: exact(one) for name, one in value.items()}
    return [exact(one) for one in value] if isinstance(value, list) else (type(value).__name__, value)


@settings(max_examples=50)
@given(INPUTS, st.sampled_from([field.name for field in dataclasses.fields(BuildInputs)]), st.data())
def test_every_input_counts(inputs: BuildInputs, name: str, data: st.DataObject) -> None:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "target": st.sampled_from(["runtime", "full"]),
        "libraries": st.dictionaries(TEXT, TEXT, max_size=3),
        **dict.fromkeys(("source", "toolchain", "recipe"), MAPPINGS),
    }
    other = data.draw(kinds.get(name, TEXT))
    assume(exact(other) != exact(getattr(inputs, name)))
    assert dataclasses.replace(inputs, **{name: other}).key() != inputs.key()


def test_keys_stay_as_they_are() -> None:
    # A change here means that every team builds everything again: raise FORMAT on purpose, or do not change it.
    inputs = BuildInputs(
        stack="relay-0.19",
        source={"identity": "ab" * 32, "commit": "", "submodules": {}},
        config="set(USE_RPC ON)\n",
        toolchain={"cxx": "g++ 12.2.0"},
        machine="armv7l-hard",
        target="runtime",
        build_type="Release",
    )
    assert inputs.key() == "aa9d8f505dfd67e7"
