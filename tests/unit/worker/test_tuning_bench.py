"""Trials in child processes: what fails and why, boards that die, budgets, resuming, giving up. No TVM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tvmops.worker.failures import JobError
from tvmops.worker.tuning.bench import Bench, Limits
from tvmops.worker.tuning.outcomes import Outcome
from tvmops.worker.tuning.plan import TunePlan
from tvmops.worker.tuning.trials import Measure, Search, Tuning, heaviest

CHILD = str(Path(__file__).with_name("child_functions.py"))
LIMITS = Limits(build=30.0, run=30.0)
Boards = list[dict[str, Any]]


def boards_in(folder: Path, count: int) -> Boards:
    """A board dies when the file that its key names appears."""
    return [
        {"name": f"board-{i}", "host": "127.0.0.1", "port": i, "key": str(folder / f"dead-{i}")} for i in range(count)
    ]


def plan_of(boards: Boards = [], **settings: Any) -> TunePlan:  # noqa: B006
    base = {"method": "autotvm", "tuner": "random", "log": Path("/nonexistent"), "repeat": 2, "boards": boards}
    return TunePlan(**{**base, **settings})


@pytest.fixture
def make_bench() -> Iterator[Callable[[TunePlan], Bench]]:
    """make_bench(plan) -> Bench on the functions of child_functions.py; all are closed after the test."""
    opened: list[Bench] = []

    def make(plan: TunePlan) -> Bench:
        opened.append(Bench(plan, "cpu", (CHILD, "build"), running=CHILD))
        return opened[-1].__enter__()

    yield make
    for bench in opened:
        bench.__exit__()


def outcomes(bench: Bench, trials: list[str], limits: Limits = LIMITS) -> list[Outcome]:
    found = dict(bench.measure([{"data": data} for data in trials], limits))
    return [found[number] for number in range(len(trials))]


@pytest.mark.parametrize("count", [0, 2])
def test_every_failure_has_its_kind_and_costs_one_trial(
    make_bench: Callable[[TunePlan], Bench], tmp_path: Path, count: int
) -> None:
    bench = make_bench(plan_of(boards_in(tmp_path, count), builders=2))
    trials = ["good 0.25", "invalid", "refused", "builder_crash", "crash", "fails", "good 0.5"]
    found = outcomes(bench, trials)
    assert [outcome.failure for outcome in found] == [None, "instantiation", "compile", "compile", "run", "run", None]
    assert found[0].costs == [0.25, 0.25]
    assert found[6].cost == 0.5
    assert "knob 3" in found[1].message
    assert "SIGABRT" in found[3].message and "SIGABRT" in found[4].message
    assert "out of registers" in found[5].message
    assert not bench.boards.lost


def test_what_hangs_is_ended_at_its_limit(make_bench: Callable[[TunePlan], Bench]) -> None:
    bench = make_bench(plan_of())
    found = outcomes(bench, ["builder_hang", "good 1"], Limits(build=1.0, run=30.0))
    assert [outcome.failure for outcome in found] == ["build_timeout", None]
    assert "1 s" in found[0].message


def test_a_run_that_hangs_is_ended(make_bench: Callable[[TunePlan], Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.worker.tuning.boards.GRACE_SECONDS", 0.5)
    found = outcomes(make_bench(plan_of()), ["hang", "good 1"], Limits(build=30.0, run=0.1))
    assert [outcome.failure for outcome in found] == ["run_timeout", None]


def test_a_dead_board_is_left_out_and_its_trial_goes_to_another(
    make_bench: Callable[[TunePlan], Bench], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    boards = boards_in(tmp_path, 3)
    Path(boards[0]["key"]).touch()
    bench = make_bench(plan_of(boards, builders=2))
    assert [outcome.cost for outcome in outcomes(bench, [f"good {i}" for i in range(1, 7)])] == [1, 2, 3, 4, 5, 6]
    assert list(bench.boards.lost) == ["board-0"]
    assert bench.boards.count == 2
    assert "board board-0 is left out: nothing listens there" in capfd.readouterr().out


def test_a_trial_takes_two_boards_with_it_at_most(make_bench: Callable[[TunePlan], Bench], tmp_path: Path) -> None:
    bench = make_bench(plan_of(boards_in(tmp_path, 3)))
    found = outcomes(bench, ["kills", "good 1", "good 2"])
    assert [outcome.failure for outcome in found] == ["board", None, None]
    assert len(bench.boards.lost) == 2


def test_without_a_board_the_run_ends_and_names_them(make_bench: Callable[[TunePlan], Bench], tmp_path: Path) -> None:
    boards = boards_in(tmp_path, 2)
    bench = make_bench(plan_of(boards))
    for board in boards:
        Path(board["key"]).touch()
    with pytest.raises(JobError, match=r"no board is left.*board-0.*board-1.*what was measured is kept") as caught:
        outcomes(bench, ["good 1", "good 2"])
    assert caught.value.kind == "Rpc"


# The loop ---------------------------------------------------------------------------------------------------------


class Listed(Search):
    """A search that proposes a list, one round after the other."""

    weight, flop = 1.0, 4e9

    def __init__(self, trials: list[str], known: list[float | None] | None = None, name: str = "listed") -> None:
        self.name, self._trials, self._known = name, trials, known or []
        self.kept: list[Outcome] = []
        self.default: dict[str, Any] | None = None

    def known(self) -> list[float | None]:
        return list(self._known)

    def canary(self) -> dict[str, Any] | None:
        return self.default

    def round(self, count: int, measure: Measure) -> int:
        batch, self._trials = self._trials[:count], self._trials[count:]
        measure([{"data": data} for data in batch], lambda number, outcome: self.kept.append(outcome))
        return len(batch)


def tuned(bench: Bench, plan: TunePlan, *searches: Search) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return Tuning(plan, bench, events.append).run(list(searches)), events


def test_what_the_log_has_is_not_measured_again(make_bench: Callable[[TunePlan], Bench]) -> None:
    plan = plan_of(trials=5)
    search = Listed(["good 0.5"] * 100, known=[2.0, None, 1.0])
    result, events = tuned(make_bench(plan), plan, search)
    (row,) = result["tasks"]
    assert (row["measured"], row["reused"], row["failed"], row["trials"]) == (2, 3, 1, 5)
    assert row["best_gflops"] == 8.0
    assert len(search.kept) == result["measured"] == 2
    assert events[-1]["eta_seconds"] == 0.0
    assert events[-1]["trial"] == 5


def test_a_finished_plan_measures_nothing_and_starts_nothing(make_bench: Callable[[TunePlan], Bench]) -> None:
    plan = plan_of(trials=2)
    search = Listed(["builder_hang"] * 9, known=[2.0, 1.0])
    search.default = {"data": "builder_hang"}
    result, _ = tuned(make_bench(plan), plan, search)
    assert (result["measured"], result["reused"]) == (0, 2)


def test_a_task_that_never_works_stops_with_the_reason(make_bench: Callable[[TunePlan], Bench]) -> None:
    plan = plan_of(trials=200)
    result, events = tuned(make_bench(plan), plan, Listed(["fails"] * 200), Listed(["good 1"] * 3, name="other"))
    assert result["stopped"] == [{"task": "listed", "reason": result["stopped"][0]["reason"]}]
    assert "all 16 trials failed (16 x run: CUDA: out of registers)" in result["stopped"][0]["reason"]
    assert [row["measured"] for row in result["tasks"]] == [16, 3], "the next task is tuned all the same"
    assert result["failures"] == {"run": 16}
    assert events[-1]["failures"] == {"run": 16}


def test_the_search_ends_when_nothing_gets_better(make_bench: Callable[[TunePlan], Bench]) -> None:
    plan = plan_of(trials=100, early_stopping=10)
    result, _ = tuned(make_bench(plan), plan, Listed(["good 1"] + ["good 2"] * 99))
    assert result["tasks"][0]["measured"] == 16  # two rounds of eight
    assert result["stopped"] == []


def test_the_canary_is_no_trial_and_sets_the_limits(
    make_bench: Callable[[TunePlan], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tvmops.worker.tuning.trials.LEAST", Limits(build=2.0, run=2.0))
    plan = plan_of(trials=2)
    search = Listed(["builder_hang", "good 1"])
    search.default = {"data": "good 1"}
    result, _ = tuned(make_bench(plan), plan, search)
    assert result["failures"] == {"build_timeout": 1}
    assert result["measured"] == 2


def test_a_given_timeout_is_used_as_it_is(make_bench: Callable[[TunePlan], Bench]) -> None:
    plan = plan_of(trials=1, timeout=1.0)
    result, _ = tuned(make_bench(plan), plan, Listed(["builder_hang"]))
    assert result["failures"] == {"build_timeout": 1}


def test_a_trial_lost_with_its_board_is_not_kept(make_bench: Callable[[TunePlan], Bench], tmp_path: Path) -> None:
    plan = plan_of(boards_in(tmp_path, 3), trials=2)
    search = Listed(["kills", "good 1"])
    result, events = tuned(make_bench(plan), plan, search)
    assert [outcome.failure for outcome in search.kept] == [None]
    assert result["failures"] == {"board": 1}
    assert sorted(result["boards_lost"]) == events[-1]["boards_lost"]


def test_the_heaviest_tasks_are_kept_in_their_order() -> None:
    searches = [Listed([], name=name) for name in "abc"]
    searches[0].weight, searches[1].weight, searches[2].weight = 2.0, 1.0, 3.0
    assert [search.name for search in heaviest(searches, 2)] == ["a", "c"]
    assert heaviest(searches, None) == searches
