"""Conditions decided on the board: every Python agrees with the controller; tries, deadlines and jobs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from condition_texts import KNOWN, conditions, results
from driver import Driver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvmops.agent.expression import evaluate
from tvmops.agent.ordered import Ordered
from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.residual import residual
from tvmops.playbook.values import prepare_condition
from tvmops.playbook.variables import AWAITED, Known, Scope
from tvmops.source import Position, Problems

Json = dict[str, Any]
PYENV = sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
PYTHONS = [str(path) for path in PYENV if path.parent.parent.name.split(".")[1] not in ("0", "1", "2", "3", "4")]


def left_of(text: str, *awaited: str) -> Any:
    """What the board has to decide of a condition."""
    condition = prepare_condition(text, Position("play.yml", 1, 1), Problems())
    return residual(condition, Scope([Known({**KNOWN, **dict.fromkeys(awaited, AWAITED)})]), awaited)


def rows(*texts: str, names: tuple[str, ...] = ("x", "y")) -> list[list[Any]]:
    return [[left_of(text, *names), text] for text in texts]


def shell(script: str, **more: Any) -> Json:
    return {"module": "shell", "args": {"_raw_params": script}, **more}


def with_values(expression: Any, values: Json) -> Any:
    """The expression with the results put in as what they are as long as nothing is registered."""
    if isinstance(expression, list) and expression and expression[0] == "reg":
        return ["reg", expression[1], ["lit", values[expression[1]]]]
    if isinstance(expression, list) and expression and expression[0] != "lit":
        return [with_values(part, values) for part in expression]
    if isinstance(expression, dict):
        return {key: with_values(part, values) for key, part in expression.items()}
    return expression


def verdict_of(text: str, values: Json) -> str:
    condition = prepare_condition(text, Position("play.yml", 1, 1), Problems())
    try:
        return "runs" if condition.holds(Scope([Known({**KNOWN, **values})])) else "skipped"
    except TemplateFault:
        return "fails"


@pytest.fixture(scope="module", params=[*PYTHONS, sys.executable])
def any_board(cache: Path, request: pytest.FixtureRequest) -> Iterator[Driver]:
    with Driver(cache, request.param) as driver:
        yield driver
        assert driver.close() == 0
        assert driver.stderr == ""


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases=st.lists(st.tuples(conditions(), results(), results()), min_size=5, max_size=25))
def test_every_python_decides_as_the_controller_would(any_board: Driver, cases: list[tuple[str, Json, Json]]) -> None:
    tasks, expected = [], []
    for text, x, y in cases:
        problems = Problems()
        prepare_condition(text, Position("play.yml", 1, 1), problems)
        if problems.errors:  # refused when it is loaded
            continue
        try:
            left = left_of(text, "x", "y")
        except (Pending, TemplateFault):
            continue
        if isinstance(left, list):
            when = [[with_values(left, {"x": x, "y": y}), text]]
            tasks.append({"module": "stat", "args": {"path": "/"}, "when": when, "ignore_errors": True})
            expected.append(verdict_of(text, {"x": x, "y": y}))
    done = any_board.batch(tasks)
    said = ["fails" if one.get("failed") else "skipped" if one.get("skipped") else "runs" for one in done]
    assert said == expected


def test_later_tasks_see_the_results_of_earlier_ones(any_board: Driver) -> None:
    done = any_board.batch(
        [
            shell("echo one; exit 3", register="x", ignore_errors=True),
            shell("echo two", when=rows("x is failed", "x.stdout == 'one'"), register="y"),
            shell("echo three", when=rows("y is changed", "x.rc == 0"), register="z"),
            shell("echo four", when=rows("z is skipped", names=("z",))),
        ]
    )
    assert [one.get("stdout") for one in done] == ["one", "two", None, "four"]
    assert done[2] == {
        "changed": False,
        "skipped": True,
        "skip_reason": "Conditional result was False",
        "false_condition": "x.rc == 0",
    }


def test_a_condition_that_cannot_be_decided_fails_the_task_by_name(any_board: Driver) -> None:
    tasks = [shell("true", register="x")]
    tasks += [
        shell("true", when=rows(text), ignore_errors=True) for text in ("x.nothing == 1", "x.stdout", "x.rc + 'a' == 1")
    ]
    done = any_board.batch(tasks)
    assert [one["failed"] for one in done] == [False, True, True, True]
    assert done[1]["msg"] == (
        "the condition 'x.nothing == 1' cannot be decided: the dictionary has no key or attribute 'nothing'"
    )
    assert done[2]["msg"] == "the condition 'x.stdout' gives text, not true or false"
    assert "'x.rc + 'a' == 1'" in done[3]["msg"]
    assert not any("rc" in one for one in done[1:])


def test_verdicts_read_the_result_itself(board: Driver) -> None:
    own = {"register": "x", "ignore_errors": True}
    done = board.batch(
        [
            shell("echo same", changed_when=rows("'new' in x.stdout"), **own),
            shell("echo error", failed_when=rows("'error' in x.stdout", "x.rc == 0"), **own),
            shell("exit 3", failed_when=rows("x.rc not in [0, 3]"), changed_when=rows("x is failed"), **own),
            shell("true", changed_when=rows("x.nothing"), **own),
            shell("true", failed_when=rows("x.nothing"), **own),
            shell("exit 3", failed_when=False, changed_when=False, **own),
        ]
    )
    told = [(one["changed"], one["failed"], one.get("failed_when_result")) for one in done]
    # As in Ansible, changed_when comes first: it sees whether the program failed, not failed_when's verdict.
    assert told[:3] == [(False, False, None), (True, True, True), (True, False, False)]
    assert told[5] == (False, False, False)
    assert "'x.nothing'" in done[3]["msg"]
    assert "'x.nothing'" in done[3]["changed_when_result"]
    assert done[3]["failed"]
    assert "'x.nothing'" in done[4]["failed_when_result"]


def test_no_log_hides_what_the_verdicts_read(board: Driver) -> None:
    (done,) = board.batch([shell("echo secret", failed_when=rows("'x' in x.stdout"), register="x", no_log=True)])
    assert set(done) == {"changed", "failed", "censored"}
    assert "secret" not in json.dumps(board.events)


def test_a_loop_has_its_results_under_its_name(any_board: Driver) -> None:
    loop = [
        {
            "args": {"_raw_params": f"echo {word}"},
            "label": word,
            "variables": {"item": word, "ansible_loop_var": "item"},
        }
        for word in ("a", "b")
    ]
    known = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False", "false_condition": "no"}
    loop.insert(1, {"result": known, "variables": {"item": "known", "ansible_loop_var": "item"}})
    done = any_board.batch(
        [
            {"module": "shell", "args": {}, "loop": loop, "register": "x"},
            shell("echo", when=rows("x is changed", "x.results | map(attribute='item') | join(',') == 'a,known,b'")),
            shell(
                "echo",
                when=rows("x.results | selectattr('stdout', 'defined') | map(attribute='stdout') | join == 'ab'"),
            ),
            shell("echo", when=rows("x.results[1] is skipped", "x.skipped is false", "x.msg == 'All items completed'")),
        ]
    )
    assert [bool(one.get("skipped")) for one in done] == [False] * 4, done


def test_an_item_sees_the_result_of_the_one_before_it(board: Driver) -> None:
    condition = "x is not defined or x is failed"
    first, others = [["lit", True], condition], [left_of(condition, "x"), condition]
    loop = [
        {"args": {"_raw_params": script}, "label": script, "when": [others if index else first]}
        for index, script in enumerate(("exit 1", "true", "exit 1", "true"))
    ]
    (done,) = board.batch([{"module": "shell", "args": {}, "loop": loop, "register": "x"}])
    assert [(bool(one.get("skipped")), one.get("rc")) for one in done["results"]] == [
        (False, 1), (False, 0), (True, None), (True, None),
    ]  # fmt: skip


def test_items_have_conditions_of_their_own(board: Driver) -> None:
    loop = [
        {"args": {"_raw_params": "true"}, "label": "a", "when": rows("x.rc == 0")},
        {"args": {"_raw_params": "true"}, "label": "b", "when": rows("x.rc == 1")},
        {"args": {"_raw_params": "true"}, "label": "c", "changed_when": False},
    ]
    done = board.batch([shell("true", register="x"), {"module": "shell", "args": {}, "loop": loop}])[1]
    assert [(bool(one.get("skipped")), one["changed"]) for one in done["results"]] == [
        (False, True), (True, False), (False, False),
    ]  # fmt: skip


def test_until_tries_again_and_tells(any_board: Driver, tmp_path: Path) -> None:
    place = tmp_path / "tries"
    script = f"echo x >> {place}; wc -l < {place}"
    (done,) = any_board.batch([shell(script, register="x", until=rows("x.stdout | int == 3"), retries=5, delay=0.01)])
    assert (done["attempts"], done["failed"], done["stdout"].strip()) == (3, False, "3")
    texts = [event["text"] for event in any_board.events if event["ev"] == "progress"]
    told = [text.partition(";")[0] for text in texts if "not enough" in text]
    assert told[-2:] == ["attempt 1 of 6 was not enough", "attempt 2 of 6 was not enough"]


def test_tries_that_run_out_fail(board: Driver, tmp_path: Path) -> None:
    place = tmp_path / "tries"
    more = {"retries": 2, "delay": 0, "ignore_errors": True, "register": "x"}
    never, until_it_works, broken = board.batch(
        [
            shell(f"echo x >> {place}", until=rows("x.rc == 1"), **more),
            shell("exit 4", **more),
            shell("true", until=rows("x.nothing == 1"), **more),
        ]
    )
    assert place.read_text() == "x\n" * 3
    assert (never["failed"], never["attempts"], never["rc"]) == (True, 2, 0)
    assert (until_it_works["failed"], until_it_works["attempts"], until_it_works["rc"]) == (True, 2, 4)
    assert broken["failed"]
    assert "'x.nothing == 1'" in broken["msg"]


def test_a_stop_ends_the_waiting_between_tries(agent: Driver) -> None:
    agent.start([shell("exit 1", retries=100, delay=1000)])
    agent.wait_for("progress")
    agent.send({"op": "stop"})
    (done,) = agent.finish()
    assert done["failed"]
    assert done["attempts"] == 1
    assert "interrupted" in done["msg"]


def other_user(name: str) -> Json:
    """Only root can become other users."""
    return {"become_user": name} if os.geteuid() == 0 else {}


def run_past_timeouts(board: Driver, **user: Any) -> None:
    before = len(board.events)
    done = board.batch(
        [
            shell("sleep 600 & echo $!; wait", timeout=0.5, ignore_errors=True, **user),
            {"module": "wait_for", "args": {"path": "/nonexistent"}, "timeout": 0.2, "ignore_errors": True, **user},
            shell("echo fine", **user),
        ]
    )
    for one, seconds in zip(done, (0.5, 0.2), strict=False):
        timed_out = {"msg": f"Task failed: Timed out after {seconds} second(s).", "timedout": {"period": seconds}}
        assert one == {"changed": False, "failed": True, **timed_out}
    assert done[2]["stdout"] == "fine"
    shown = [event["text"] for event in board.events[before:] if event["ev"] == "progress"]
    assert not any(is_alive(int(text)) for text in shown if text.isdigit())


def test_what_runs_past_its_timeout_is_stopped(any_board: Driver) -> None:
    run_past_timeouts(any_board)


def test_what_another_user_runs_past_its_timeout_is_stopped(board: Driver) -> None:
    run_past_timeouts(board, **other_user("nobody"))


def is_alive(pid: int) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return False
        time.sleep(0.02)
    return True


def test_a_timed_out_task_is_not_tried_again(board: Driver) -> None:
    (done,) = board.batch(
        [shell("sleep 600", timeout=0.3, retries=50, delay=1000, failed_when=False, ignore_errors=True)]
    )
    assert done["failed"]
    assert done["timedout"] == {"period": 0.3}


def test_a_followed_job_has_the_result_and_its_deadline(board: Driver) -> None:
    good, late = board.batch(
        [
            shell("echo hi", **{"async": 600, "poll": 1}),
            shell("sleep 600", **{"async": 1, "poll": 1, "ignore_errors": True}),
        ]
    )
    assert (good["stdout"], good["finished"], good["started"], good["failed"]) == ("hi", True, True, False)
    assert late["failed"]
    assert late["msg"] == "async task did not complete within the requested time - 1s"
    assert late["async_result"]["finished"] is False


def test_a_job_on_its_own_outlives_the_agent(cache: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    with Driver(cache) as first:
        begun = first.batch([shell(f"cat {go}; exit 3", **{"async": 600, "poll": 0})])[0]
        asked = first.task("async_status", {"jid": begun["ansible_job_id"]})
        assert first.close() == 0
    assert (begun["changed"], begun["failed"], begun["started"], begun["finished"]) == (True, False, True, False)
    assert (asked["changed"], asked["finished"], asked["stdout"]) == (False, False, "")
    go.write_text("went\n")
    job = {"jid": begun["ansible_job_id"]}
    with Driver(cache) as second:
        until = {"until": rows("x.finished"), "retries": 1000, "delay": 0.05, "register": "x", "ignore_errors": True}
        done = second.batch([{"module": "async_status", "args": job, **until}])[0]
        assert (done["finished"], done["rc"], done["stdout"], done["failed"]) == (True, 3, "went", True)
        cleaned = second.task("async_status", {**job, "mode": "cleanup"})
        assert cleaned["erased"] == begun["results_file"]
        assert not list(Path(begun["results_file"]).parent.glob(f"{begun['ansible_job_id']}*"))
        assert second.task("async_status", job)["msg"] == "could not find job"
        assert second.task("async_status", {"jid": "../../etc/passwd"})["msg"] == "could not find job"


def test_a_job_on_its_own_ends_at_its_deadline_and_a_killed_one_is_told(board: Driver) -> None:
    late, killed = board.batch(
        [shell("sleep 600", **{"async": 1, "poll": 0}), shell("echo $PPID; sleep 600", **{"async": 600, "poll": 0})]
    )
    until = {"until": rows("x.finished"), "retries": 1000, "delay": 0.05, "register": "x", "ignore_errors": True}
    done = board.batch([{"module": "async_status", "args": {"jid": late["ansible_job_id"]}, **until}])[0]
    assert (done["failed"], done["msg"]) == (True, "Timeout exceeded")
    holder = next(
        one for one in psutil.process_iter() if any(f.path == killed["results_file"] + ".lock" for f in opened_by(one))
    )
    programs = holder.children(recursive=True)
    holder.kill()
    for program in programs:
        program.kill()
    done = board.batch([{"module": "async_status", "args": {"jid": killed["ansible_job_id"]}, **until}])[0]
    assert done["failed"]
    assert "ended without a result" in done["msg"]


def opened_by(process: psutil.Process) -> list[Any]:
    try:
        return process.open_files()
    except psutil.Error:
        return []


def test_a_job_has_the_content_that_came_with_it(cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "copied"
    with Driver(cache) as driver:
        task = {
            "module": "copy",
            "args": {"dest": str(target), "src": "x", "_blob": driver.blob(b"x" * 50000)},
            "async": 600,
            "poll": 0,
        }
        begun = driver.batch([task])[0]
        until = {"until": rows("x.finished"), "retries": 1000, "delay": 0.05, "register": "x"}
        done = driver.batch([{"module": "async_status", "args": {"jid": begun["ansible_job_id"]}, **until}])[0]
    assert done["changed"], done
    assert target.read_bytes() == b"x" * 50000


def test_a_run_that_leaves_a_job_says_so_in_its_journal(agent: Driver) -> None:
    done = agent.batch([shell("true", **{"async": 600, "poll": 0})], run="run-1", owner="me", what="x")[0]
    state = Path(done["results_file"]).parent.parent
    index = (state / "runs" / "run-1" / "journal" / "index").read_text()
    assert f"shell: {done['ansible_job_id']}" in index


def test_in_check_mode_nothing_is_left_running(board: Driver) -> None:
    done = board.batch([shell("sleep 600", **{"async": 600, "poll": 0})], check=True)[0]
    assert done["skipped"]


def test_ordered_dictionaries_read_and_compare_as_plain_ones() -> None:
    pairs = [("b", 1), ("a", [Ordered([("x", None)])])]
    assert repr(Ordered(pairs)) == "{'b': 1, 'a': [{'x': None}]}"
    assert Ordered(pairs) == Ordered(pairs[::-1]) == dict(pairs)
    assert Ordered(pairs) != {"b": 1}
    assert evaluate(["filter", "string", ["dict", [[["lit", "b"], ["lit", 1]]]], [], {}], {}) == "{'b': 1}"
