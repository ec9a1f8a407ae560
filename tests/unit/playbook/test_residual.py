"""What is left of a condition for the board: the board's verdict is the one that the whole condition has here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from condition_texts import KNOWN, conditions, results
from hypothesis import HealthCheck, given, reject, settings

from tvmops.agent import expression
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.residual import residual, residual_all
from tvmops.playbook.residual_names import names_in
from tvmops.playbook.values import Condition, all_hold, prepare_condition
from tvmops.playbook.variables import AWAITED, Known, Scope, Written
from tvmops.source import Position, Problems

BOARD = ("x", "y")
AT = Position("play.yml", 1, 1)


def condition(text: Any) -> Condition:
    problems = Problems()
    prepared = prepare_condition(text, AT, problems)
    if problems.errors:  # refused when it is loaded: no run ever sees it
        reject()
    return prepared


def scope(values: dict[str, Any]) -> Scope:
    return Scope([Known({**KNOWN, **values})])


def waiting() -> Scope:
    return scope(dict.fromkeys(BOARD, AWAITED))


def whole(text: str, known: dict[str, Any]) -> bool | str:
    try:
        return condition(text).holds(scope(known))
    except TemplateFault:
        return "fault"


def on_board(text: str, known: dict[str, Any]) -> bool | str | None:
    """The verdict by way of the board; None when the condition has to wait for a batch of its own."""
    try:
        left = residual(condition(text), waiting(), BOARD)
    except Pending:
        return None
    except TemplateFault:
        return "fault"
    if isinstance(left, bool):
        return left
    sent = json.loads(json.dumps([left, known]))
    try:
        return expression.first_false([[sent[0], text]], sent[1]) is None
    except expression.ConditionFault as fault:
        assert " ".join(text.split())[:70] in str(fault)
        return "fault"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=conditions(), x=results(), y=results())
def test_a_board_decides_as_the_controller_would(text: str, x: dict[str, Any], y: dict[str, Any]) -> None:
    known = {"x": x, "y": y}
    verdict = on_board(text, known)
    if verdict is not None:
        assert verdict == whole(text, known)


@pytest.mark.parametrize(
    "text",
    [
        "x is changed", "x is not failed", "x.rc != 0", "x.rc in [0, k]", "'err' in x.stderr", "x.stdout == word",
        "x.results | selectattr('rc', 'ne', 0) | list | length > 0", "x.stdout_lines[0] == 'a'", "not x.stat.exists",
        "x is changed and table.rc == 0", "x.stdout.find('err') != -1", "x.stdout is search('e+r')", "x.rc == y.rc",
        "x.nope | default('none') == 'none'", "x.stdout | regex_search('v(.*)', '\\\\1') | first == word",
        "(x.stdout | from_json).state == 'up'", "x.rc in (0, 1)", "x is defined", "x.stdout[:2] == 'ab'",
        "x.results | map(attribute='stdout') | map('int') | max > 4", "x.stdout | int + 1 == k",
        "nope is undefined and x.rc == 0",
    ],
)  # fmt: skip
def test_what_people_write_needs_no_batch_of_its_own(text: str) -> None:
    left = residual(condition(text), waiting(), BOARD)
    assert isinstance(left, list)
    assert names_in([[left, text]]) <= set(BOARD)
    assert names_in(left)


@pytest.mark.parametrize(
    "text",
    [
        "x.rc == 0 and lookup('env', 'HOME') == ''",  # lookups are done when the condition is decided
        "x.count == 1",  # the method of some values
        "x['items'] is defined",
        "x.stdout | regex_replace('a*', 'b') == 'b'",  # not the same with every Python
        "x.stdout is match('a++')",
        "x.stdout is match(word ~ x.stdout)",  # a pattern that is not known here
        "x.results | sum(attribute='rc') > 0",
        "x.results | map(attribute='count') | list == []",
        "x.results | map(word) | list == []",
        "x.rc == nope",  # undefined: the condition itself complains, when it is its turn
        "x.rc == {1: 2}[1] and x.rc in odd_keys | dict2items",
        "x.stdout.format() == ''",
        "1 or x.rc",  # no boolean
    ],
)
def test_what_cannot_be_exact_waits_for_its_results(text: str) -> None:
    with pytest.raises(Pending) as caught:
        residual(condition(text), waiting(), BOARD)
    assert caught.value.name == "x"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("flag or x.rc", True), ("off and x.rc == 0", False), ("true if flag else x is changed", True), ("not off", True)],
)
def test_what_is_known_decides_alone(text: str, verdict: bool) -> None:
    assert residual(condition(text), waiting(), BOARD) is verdict


def test_other_results_are_waited_for() -> None:
    values = scope({"x": AWAITED, "z": AWAITED})
    with pytest.raises(Pending, match="z"):
        residual(condition("x is changed and z is changed"), values, ["x"])
    with pytest.raises(Pending, match="x"):
        residual(condition("x is changed"), values, [])


def test_a_name_that_something_stronger_hides_is_known() -> None:
    hidden = Scope([Known({"x": {"changed": True}}), Known({"x": AWAITED})])
    assert residual(condition("x is changed"), hidden, ["x"]) is True


def test_a_variable_that_reads_a_result_is_waited_for() -> None:
    indirect = Scope([Written({"went_wrong": "{{ x.rc != 0 }}"}), Known({"x": AWAITED})])
    with pytest.raises(Pending):
        residual(condition("went_wrong and x is changed"), indirect, ["x"])
    with pytest.raises(Pending):
        residual(condition("{{ 'x.rc == 0' }}"), indirect, ["x"])


def test_several_conditions_are_decided_in_their_order() -> None:
    board, known_false = condition("x is changed"), condition("k == 2")
    known_true = condition("k == 1")
    assert residual_all((known_true, known_false, board), waiting(), BOARD) is known_false
    assert residual_all((known_true,), waiting(), BOARD) == []
    rows = residual_all((known_true, board, known_false, board), waiting(), BOARD)
    assert isinstance(rows, list)
    assert [text for _, text in rows] == ["x is changed", "k == 2"]
    assert expression.first_false(rows, {"x": {"changed": True}}) == "k == 2"
    assert expression.first_false(rows, {"x": {"changed": False}}) == "x is changed"


def test_all_hold_agrees_with_rows() -> None:
    several = (condition("x.rc == 0"), condition("flag"), condition("y is changed"))
    rows = residual_all(several, waiting(), BOARD)
    for rc in (0, 1):
        for changed in (True, False):
            known = {"x": {"rc": rc}, "y": {"changed": changed}}
            false = all_hold(several, scope(known))
            assert expression.first_false(rows, known) == (None if false is None else false.text)
