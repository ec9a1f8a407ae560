"""The small parts: splitting free-form arguments, tags, filters' edges, versions."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.playbook.faults import TemplateFault
from tvmops.playbook.split import COMMAND_OPTIONS, Unbalanced, split_arguments, words
from tvmops.playbook.tags import selected
from tvmops.playbook.values import final, prepare
from tvmops.playbook.variables import Known, Scope


@pytest.mark.parametrize(
    ("text", "options", "rest"),
    [
        ("src=a dest='/x y'", {"src": "a", "dest": "/x y"}, ""),
        ('line="a = b"', {"line": "a = b"}, ""),
        (r"msg=a\tb\x41", {"msg": "a\tbA"}, ""),
        ("dest={{ a b }}/c mode=0644", {"dest": "{{ a b }}/c", "mode": "0644"}, ""),
        ("one two", {}, "one two"),
        ("", {}, ""),
    ],
)
def test_split_arguments(text: str, options: dict[str, str], rest: str) -> None:
    assert split_arguments(text) == (options, rest)


@pytest.mark.parametrize(
    ("text", "options", "rest"),
    [
        ("make  -j4 X=1 chdir=/tmp", {"chdir": "/tmp"}, "make  -j4 X=1"),
        ("creates=/x sh -c 'a=b; echo  \"$a\"'", {"creates": "/x"}, "sh -c 'a=b; echo  \"$a\"'"),
        ("echo {{ a | default('chdir=x') }}", {}, "echo {{ a | default('chdir=x') }}"),
        ("a \\\n  b chdir='/x y'\n", {"chdir": "/x y"}, "a \\\n  b"),
        ("echo 'chdir=/no'", {}, "echo 'chdir=/no'"),
    ],
)
def test_split_commands_keep_their_text(text: str, options: dict[str, str], rest: str) -> None:
    assert split_arguments(text, COMMAND_OPTIONS) == (options, rest)


@given(st.text(alphabet="ab =\\'\"{}%#\n\t", max_size=30))
def test_words_cover_everything_but_white_space(text: str) -> None:
    with contextlib.suppress(Unbalanced):
        spans = words(text)
        covered = "".join(text[start:end] for start, end in spans)
        assert all(text[start:end] for start, end in spans)
        outside = text
        for start, end in reversed(spans):
            outside = outside[:start] + outside[end:]
        assert not outside.strip()
        assert len(covered) + len(outside) == len(text)


NAMES = st.sets(st.sampled_from(["a", "b", "always", "never"]), max_size=3).map(frozenset)


@given(NAMES, NAMES)
def test_tags(tags: frozenset[str], only: frozenset[str]) -> None:
    nothing: frozenset[str] = frozenset()
    assert selected(tags, nothing, nothing) == ("never" not in tags or "always" in tags)
    assert not selected(tags | {"x"}, only, frozenset(["x"]))
    assert selected(tags | {"x"}, only | {"x"}, nothing)
    if not tags & only and "always" not in tags and only:
        assert not selected(tags, only, nothing)
    assert not selected(tags - {"always"}, only, frozenset(["all"]))


def value(text: str, **names: Any) -> Any:
    return final(prepare(text), Scope([Known(names)]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ 1 | combine({}) }}", "combine: wants dictionaries, not int"),
        ("{{ {} | combine({}, list_merge='x') }}", "combine: list_merge is none of replace, keep"),
        ("{{ [1] | items2dict }}", "items2dict: wants a list of dictionaries with 'key' and 'value'"),
        ("{{ 'x' | dict2items }}", "dict2items: wants a dictionary, not str"),
        ("{{ 'x' | regex_search('x', 'y') }}", "is not a group such as"),
        ("{{ 'x' | hash('sha0') }}", "there is no hash 'sha0'"),
        ("{{ 10 | human_readable(unit='X') }}", "there is no unit 'X'"),
        ("{{ 'ten' | human_to_bytes }}", "cannot read 'ten'"),
        ("{{ '1' is version('2', '~') }}", "operator is none of"),
        ("{{ 'x' is changed }}", "'is changed' wants a task's registered result, not str"),
        ("{{ lookup('file', '/proc/no-such-file') }}", "cannot find '/proc/no-such-file'"),
        ("{{ lookup(name, 'x') }}", "there is no lookup 'pipe'"),
        ("{{ 'x' | regex_replace('(', '') }}", "unterminated subpattern"),
    ],
)
def test_faults_of_filters_tests_and_lookups(text: str, message: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        value(text, name="pipe")
    assert message in str(caught.value)


VERSIONS = st.lists(st.integers(0, 20), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(VERSIONS, VERSIONS)
def test_versions_are_ordered(one: str, two: str) -> None:
    less = value("{{ a is version(b, '<') }}", a=one, b=two)
    more = value("{{ a is version(b, '>') }}", a=one, b=two)
    same = value("{{ a is version(b, '==') }}", a=one, b=two)
    assert [less, more, same].count(True) == 1
    assert less == ([int(part) for part in one.split(".")] < [int(part) for part in two.split(".")])


@given(st.text(alphabet=st.sampled_from(list("{}%#|()[].'\"ab01 \n-~\\")), max_size=25))
def test_any_text_is_a_value_or_a_fault(text: str) -> None:
    with contextlib.suppress(TemplateFault):
        value(text, a=1, b=[1])


@pytest.mark.parametrize(
    "text", ["{{ " + "(" * 400 + "1" + ")" * 400 + " }}", "{{ 1" + "0" * 5000 + " }}", "{{ 9 ** 9 ** 9"]
)
def test_monstrous_templates_are_faults(text: str) -> None:
    with pytest.raises(TemplateFault):
        prepare(text)
