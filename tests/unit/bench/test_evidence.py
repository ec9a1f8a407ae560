"""Notes that measurements get from the conditions around them."""

from __future__ import annotations

from typing import Any

import pytest

from tvmops.bench.evidence import condition_values, notes_of
from tvmops.bench.store_models import JobRow

FACTS = {"ansible_processor_nproc": 4}
STEADY = [0.01 + 0.00001 * (i % 3) for i in range(20)]
# As the conditions module of the agent gives them.
QUIET: dict[str, Any] = {
    "loadavg": [0.1, 0.2, 0.3],
    "processes_running": 0,
    "cpus": [{"cpu": 0, "cur_khz": 1479000, "governor": "performance"}],
    "thermal": [{"zone": "thermal_zone0", "type": "cpu", "celsius": 45.0}],
    "throttled": {"raw": 0, "now": [], "since_boot": []},
    "thermal_throttle": {"core": 3, "package": 1},
}


def job(before: dict[str, Any] | None = None, after: dict[str, Any] | None = None, **values: Any) -> JobRow:
    row: dict[str, Any] = {"samples": STEADY, "inputs": {"measure": {"threads": 4}}, "details": {}}
    row |= {"conditions_before": {**QUIET, **(before or {})}, "conditions_after": {**QUIET, **(after or {})}}
    return JobRow(**{**row, **values})


def test_a_quiet_measurement_has_no_notes() -> None:
    """Nothing to say is said by saying nothing."""
    assert notes_of(job(), FACTS) == []


@pytest.mark.parametrize(
    ("measured", "note"),
    [
        (job({"loadavg": [3.0, 1, 1], "processes_running": 2}), "the host was busy when the measurement began"),
        (job({"cpus": [{"governor": "ondemand"}]}), "clocks were not pinned: governor ondemand"),
        (job({}, {"throttled": {"now": ["under_voltage"]}}), "the board reports: under voltage"),
        (job({}, {"thermal_throttle": {"core": 5, "package": 1}}), "throttled for heat 2 times"),
        (job({}, {"thermal": [{"celsius": 71.0}]}), "26 °C hotter while it was measured (45 to 71 °C)"),
        (job(inputs={"measure": {"threads": 8}}), "8 threads on 4 cores"),
        (job(samples=[0.01] * 3), "only 3 samples"),
        (job(samples=[0.01, 0.02] * 10), "samples spread widely"),
        (job(samples=[0.0100 + 0.0004 * i for i in range(10)]), "samples drift: the second half is +"),
        (job(details={"emulated": True}), "the processor is emulated"),
    ],
)
def test_each_reason_to_doubt_is_a_note(measured: JobRow, note: str) -> None:
    """One note, saying what was seen."""
    found = notes_of(measured, FACTS)
    assert any(note in line for line in found), found


def test_our_own_compile_of_a_minute_ago_is_no_reason() -> None:
    """The load average remembers it, but nobody runs any more."""
    assert notes_of(job({"loadavg": [3.0, 1, 1]}), FACTS) == []


@pytest.mark.parametrize("conditions", [None, {}, {"cpus": [], "thermal": [], "throttled": None, "loadavg": None}])
def test_boards_that_say_nothing_are_no_fault(conditions: dict[str, Any] | None) -> None:
    """Virtual boards have no clocks and no thermometers."""
    row = job()
    row.conditions_before = row.conditions_after = conditions
    assert notes_of(row, None) == []
    assert condition_values(conditions or {}) == {}


def test_the_table_shows_what_there_is() -> None:
    """Named with units."""
    assert condition_values(QUIET) == {
        "load, 1 min": 0.1,
        "other processes running": 0.0,
        "governor": "performance",
        "lowest clock, MHz": 1479.0,
        "highest clock, MHz": 1479.0,
        "hottest, °C": 45.0,
    }
