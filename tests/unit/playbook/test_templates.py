"""Templates, variables and their faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.errors import ConfigError
from tvmops.playbook.faults import Pending, TemplateFault, UndefinedFault
from tvmops.playbook.files import BlobStore, render_file
from tvmops.playbook.undefined import OMIT
from tvmops.playbook.values import final, prepare, prepare_condition
from tvmops.playbook.variables import AWAITED, Facts, Known, Scope, Written
from tvmops.source import Problems, parse_yaml

VARIABLES: dict[str, Any] = {
    "number": 5,
    "name": "board",
    "words": ["a", "b"],
    "chain": "{{ middle }}/end",
    "middle": "{{ name }}-{{ number }}",
    "broken": "{{ nowhere }}",
    "nested": {"list": [1, "{{ chain }}"], "bad": "{{ nowhere }}", "good": 1},
    "loop_a": "{{ loop_b }}",
    "loop_b": "x{{ loop_a }}",
    "nothing": None,
}


def render(text: Any, **more: Any) -> Any:
    return final(prepare(text), Scope([Known(more), Written(VARIABLES)]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("{{ number }}", 5),
        ("{{ number }} ", "5 "),
        ("n={{ number }}", "n=5"),
        ("{{ words }}", ["a", "b"]),
        ("{{ words }} and {{ nothing }}", "['a', 'b'] and "),
        ("{{ chain }}", "board-5/end"),
        ("{{ nested.list }}", [1, "board-5/end"]),
        ("{{ nothing }}", None),
        ("{{ number == 5 }}", True),
        ("{{ '5' }}", "5"),
        ("{{ '5' | int }}", 5),
        ("{{ none }}{{ none }}", None),
        ("{% for w in words %}{{ w }}{% endfor %}\n", "ab\n"),
        ("{{ broken | default('other') }}", "other"),
        ("{{ broken is defined }}", False),
        ("{{ nowhere.at.all | default('x') }}", "x"),
        ("{{ nested.good }}", 1),
        ("{{ nested.bad | default(2) }}", 2),
        ("{{ omit }}", OMIT),
        ("{{ 1 if true else loop_a }}", 1),
        ("{{ {'a': omit, 'b': [omit, 1]} }}", {"b": [1]}),
        ("{{ (1, 2) }}", [1, 2]),
        ("{{ words | map('upper') }}", ["A", "B"]),
        (r"{{ 'a.b' | regex_replace('\.', '\\') }}", "a\\b"),
        ({"k{{ number }}": ["{{ number }}", {"d": "{{ name }}"}]}, {"k{{ number }}": [5, {"d": "board"}]}),
    ],
)
def test_values_keep_their_types(text: Any, value: Any) -> None:
    result = render(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ nmber }}", "'nmber' is undefined\n  did you mean 'number'?"),
        ("x{{ broken }}", "'nowhere' is undefined"),
        ("{{ broken }}", "'nowhere' is undefined"),
        ("{{ nested }}", "'nowhere' is undefined"),
        ("{{ nested.goood }}", "the dictionary has no key or attribute 'goood'\n  did you mean 'good'?"),
        ("{{ loop_a }}", "'loop_a' is defined by itself: loop_a -> loop_b -> loop_a"),
        ("{{ number.x.y + 1 }}", "the int has no key or attribute 'x'"),
        ("{{ loop_a | default(1) }}", "'loop_a' is defined by itself"),
        ("{{ loop_a is defined }}", "'loop_a' is defined by itself"),
        ("{{ words[7] }}", "the list has no key or attribute '7'"),
        ("{{ ([] | last) + 1 }}", "No last item, sequence was empty."),
        ("{{ 1 / 0 }}", "division by zero (ZeroDivisionError)"),
        ("{{ 'x' | from_json }}", "Expecting value"),
        ("{{ nowhere | mandatory('give me') }}", "give me"),
        ("{{ undef('a hint') }}", "a hint"),
        ("a{{ omit }}", "'omit' cannot be part of a longer text"),
        ("{{ ''.__class__ }}", "unsafe"),
    ],
)
def test_faults_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        render(text)
    assert message in str(caught.value)


def test_undefined_is_placed_where_the_name_stands(tmp_path: Path) -> None:
    path = tmp_path / "vars.yml"
    path.write_text(
        'a: 1\nb:\n  - ok\n  - deep: |\n      first line\n      second {{ nowhere }}\nc: "{{ b[1].deep }}"\n'
    )
    variables = parse_yaml(path.read_text(), str(path))
    scope = Scope([Written(variables)])
    with pytest.raises(UndefinedFault) as caught:
        final(prepare("{{ c }}"), scope)
    assert str(caught.value.position) == f"{path}:6:17"


def test_origins_of_inventory_variables_place_their_faults() -> None:
    scope = Scope([Written({"a": "{{ b"}, {"a": "group_vars/all.yml:7"})])
    with pytest.raises(TemplateFault) as caught:
        final(prepare("{{ a }}"), scope)
    assert str(caught.value.position) == "group_vars/all.yml:7:1"


def test_values_from_a_board_are_never_read_as_templates() -> None:
    scope = Scope([Known({"stdout": "{{ 1 + 1 }}"}), Written({"shown": "{{ stdout }}"})])
    assert final(prepare("{{ shown }} {{ stdout }}"), scope) == "{{ 1 + 1 }} {{ 1 + 1 }}"


def test_stronger_layers_win_and_only_when_asked() -> None:
    scope = Scope([Known({"a": 1}), Written({"a": "{{ boom }}", "b": "{{ a }}"})])
    assert final(prepare("{{ b }}"), scope) == 1


def test_awaited_results_and_facts_are_pending() -> None:
    facts = Facts()
    facts.awaited = True
    scope = Scope([Known({"result": AWAITED}), facts, Written({"uses": "{{ result.rc }}", "ansible_host": "h"})])
    for text in (
        "{{ result }}",
        "{{ uses }}",
        "{{ result is defined }}",
        "{{ ansible_facts.x }}",
        "{{ ansible_arch }}",
        "{{ ansible_hostname }}",
        "{{ ansible_user_id }}",
        "{{ packages }}",
    ):
        with pytest.raises(Pending):
            final(prepare(text), scope)
    assert final(prepare("{{ ansible_host }}"), scope) == "h"
    with pytest.raises(UndefinedFault):
        final(prepare("{{ elsewhere }}"), scope)
    facts.awaited = False
    facts.learn({"ansible_arch": "arm", "distribution": "Debian", "ansible_local": {"x": 1}})
    assert final(prepare("{{ ansible_arch }} {{ ansible_facts.arch }}"), scope) == "arm arm"
    assert final(prepare("{{ distribution }} {{ ansible_facts.distribution }}"), scope) == "Debian Debian"
    assert final(prepare("{{ ansible_local.x }}"), scope) == 1


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("number == 5", True),
        ("name is match('bo') and not words is contains('z')", True),
        ("nowhere is defined", False),
        ("{{ expression }}", True),
        (True, True),
        ("'a\\nb' | length == 3", True),
    ],
)
def test_conditions(text: Any, held: bool) -> None:
    problems = Problems()
    condition = prepare_condition(text, parse_yaml("x: 1", "f").position, problems)
    assert not problems.errors
    assert condition.holds(Scope([Written({**VARIABLES, "expression": "number > 4"})])) is held


@pytest.mark.parametrize(("text", "kind"), [("name", "text"), ("number", "a number"), ("nothing", r"nothing \(null\)")])
def test_conditions_that_are_not_boolean_are_faults(text: str, kind: str) -> None:
    condition = prepare_condition(text, parse_yaml("x: 1", "f").position, Problems())
    with pytest.raises(TemplateFault, match=f"gives {kind}, not true or false"):
        condition.holds(Scope([Written(VARIABLES)]))


def test_template_files(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("part of {{ name }}\n")
    path = tmp_path / "a.j2"
    path.write_text("{% if true %}\n{{ name }}\n{% endif %}\n{% include 'part.j2' %}\n{{ ansible_managed }}\n")
    scope = Scope([Written(VARIABLES)])
    assert render_file(path, scope, {}) == "board\npart of boardAnsible managed\n"
    path.write_text("{{ name }}")
    assert render_file(path, scope, {}) == "board"
    assert render_file(path, scope, {"newline_sequence": "\r\n"}) == "board"


@pytest.mark.parametrize(
    ("text", "place"),
    [("fine\n{{ nmber }}\n", "2"), ("\n\n{{ a | nope }}\n", "3:8"), ("\n{% if %}\n", "2"), ("{{ 1 / 0 }}", "1:1")],
)
def test_faults_in_template_files_name_the_line(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "a.j2"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        render_file(path, Scope([Written(VARIABLES)]), {})
    assert str(caught.value).startswith(f"{path}:{place}")


def test_blobs_are_named_by_content_and_large_ones_stay_in_their_files(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * (5 << 20))
    store = BlobStore()
    reference = store.add_file(path)
    assert reference["size"] == 5 << 20
    data = store.read(reference["sha256"])
    assert not isinstance(data, bytes)
    assert data[:4] == b"xxxx"
    assert len(data) == 5 << 20
    small = store.add_bytes(b"abc")
    assert store.inline(small["sha256"], small["size"]) == b"abc"
    assert store.inline(reference["sha256"], reference["size"]) is None
    with pytest.raises(ConfigError):
        store.read("0" * 64)


@given(st.text(alphabet=st.characters(blacklist_characters="{", blacklist_categories=["Cs"])))
def test_text_without_templates_is_itself(text: str) -> None:
    assert render(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_values_pass_through_variables_and_json_unchanged(value: Any) -> None:
    assert render("{{ given }}", given=value) == value
    assert render("{{ given | to_json | from_json }}", given=value) == value
