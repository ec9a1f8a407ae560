"""Host patterns and ranges."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.inventory import patterns
from tvmops.inventory.ranges import expand

HOSTS = ["jetson-nano", "pi1", "pi2", "pi3", "pynq", "nuc"]
GROUPS = {
    "all": HOSTS,
    "boards": ["jetson-nano", "pi1", "pi2", "pi3", "pynq"],
    "pis": ["pi1", "pi2", "pi3"],
    "pynq": ["pynq"],
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("all", HOSTS),
        ("*", HOSTS),
        ("nuc", ["nuc"]),
        ("pis", ["pi1", "pi2", "pi3"]),
        ("boards:!pynq", ["jetson-nano", "pi1", "pi2", "pi3"]),
        ("boards,!pis", ["jetson-nano", "pynq"]),
        ("nuc:pis", ["pi1", "pi2", "pi3", "nuc"]),
        ("boards:&pis:!pi2", ["pi1", "pi3"]),
        ("!boards", ["nuc"]),
        ("pi*", ["pi1", "pi2", "pi3"]),
        ("p[iy]*", ["pi1", "pi2", "pi3", "pynq"]),
        ("~(pi|nu).*", ["pi1", "pi2", "pi3", "nuc"]),
        ("pis[0]", ["pi1"]),
        ("pis[-1]", ["pi3"]),
        ("pis[1:]", ["pi2", "pi3"]),
        ("pis[0:1]", ["pi1", "pi2"]),
        ("pis[0:1]:nuc", ["pi1", "pi2", "nuc"]),
    ],
)
def test_pattern_names_these_hosts_in_inventory_order(pattern: str, expected: list[str]) -> None:
    assert patterns.evaluate(pattern, HOSTS, GROUPS) == expected


@pytest.mark.parametrize("pattern", ["jetsn", "boards:!pynk", "boards:&nope", "zz*", "~zz"])
def test_a_term_that_matches_nothing_is_named(pattern: str) -> None:
    with pytest.raises(patterns.UnknownName):
        patterns.evaluate(pattern, HOSTS, GROUPS)


@pytest.mark.parametrize("pattern", ["", " , ", "pis[9]", "~(", "boards:!"])
def test_malformed_patterns_say_why(pattern: str) -> None:
    with pytest.raises(patterns.BadPattern) as caught:
        patterns.evaluate(pattern, HOSTS, GROUPS)
    assert str(caught.value)


@given(st.text(max_size=30))
def test_any_text_gives_hosts_or_a_named_complaint(pattern: str) -> None:
    with contextlib.suppress(patterns.UnknownName, patterns.BadPattern):
        assert set(patterns.evaluate(pattern, HOSTS, GROUPS)) <= set(HOSTS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", ["plain"]),
        ("b[1:3]", ["b1", "b2", "b3"]),
        ("b[01:03].lan", ["b01.lan", "b02.lan", "b03.lan"]),
        ("b[0:4:2]", ["b0", "b2", "b4"]),
        ("r[a:c]", ["ra", "rb", "rc"]),
        ("r[a:b]-[1:2]", ["ra-1", "ra-2", "rb-1", "rb-2"]),
    ],
)
def test_ranges(name: str, expected: list[str]) -> None:
    assert expand(name) == expected


@pytest.mark.parametrize("name", ["b[3:1]", "b[]", "b[1]", "b[a:3]", "b[01:100]", "b[1:3:0]", "b[c:a]"])
def test_impossible_ranges_say_why(name: str) -> None:
    with pytest.raises(ValueError, match=r"\["):
        expand(name)


@given(st.integers(0, 500), st.integers(0, 60))
def test_a_range_has_as_many_names_as_numbers(first: int, count: int) -> None:
    names = expand(f"b[{first}:{first + count}]")
    assert len(set(names)) == len(names) == count + 1


def test_names_that_look_like_parts_of_an_ipv6_address_are_names() -> None:
    assert patterns.split("b1:b2:a1") == ["b1", "b2", "a1"]
    assert patterns.split("fe80::1") == ["fe80::1"]
