"""What the conditions around a measurement say about it: notes for the reader, evidence for a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvmops.bench.statistics import mad, summarise
from tvmops.bench.store_models import JobRow

BUSY_SHARE = 0.25  # of the cores, before the measurement began
HOT_RISE = 15.0  # degrees Celsius
WIDE_SPREAD = 0.10  # of the median
DRIFT = 0.10  # of the median


def notes_of(job: JobRow, facts: Mapping[str, Any] | None) -> list[str]:
    """Reasons to doubt a measurement, one sentence each; empty when there are none."""
    before, after = job.conditions_before or {}, job.conditions_after or {}
    notes = [
        *_emulation(job),
        *_load(before, facts or {}),
        *_governor(before),
        *_throttling(before, after),
        *_temperature(before, after),
        *_threads(job, facts or {}),
        *_spread(job.samples or []),
    ]
    return list(dict.fromkeys(notes))


def condition_values(conditions: Mapping[str, Any]) -> dict[str, float | str]:
    """The conditions that a table shows, by name with unit."""
    values: dict[str, float | str] = {}
    load = _first_load(conditions)
    if load is not None:
        values["load, 1 min"] = load
    running = conditions.get("processes_running")
    if running is not None:
        values["other processes running"] = float(running)
    governors = _governors(conditions)
    if governors:
        values["governor"] = ", ".join(governors)
    clocks = _clocks(conditions)
    if clocks:
        values["lowest clock, MHz"] = min(clocks)
        values["highest clock, MHz"] = max(clocks)
    hottest = _hottest(conditions)
    if hottest is not None:
        values["hottest, \u00b0C"] = hottest
    return values


def _emulation(job: JobRow) -> list[str]:
    if job.details.get("counters"):
        return ["times of VTA's simulator are those of this processor and say nothing about an FPGA; its counters do"]
    if job.details.get("emulated"):
        return ["the processor is emulated: times are good for comparing runs of one program, nothing else"]
    return []


def _load(before: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """The load average alone may be our own compile of a minute ago: somebody must be running right now, too."""
    load, running = _first_load(before), before.get("processes_running")
    cores = int(facts.get("ansible_processor_nproc") or facts.get("ansible_processor_vcpus") or 1)
    if load is not None and load > BUSY_SHARE * cores and running:
        return [f"the host was busy when the measurement began (load above {BUSY_SHARE * cores:g} on {cores} cores)"]
    return []


def _governor(before: Mapping[str, Any]) -> list[str]:
    loose = [governor for governor in _governors(before) if governor not in ("performance", "userspace")]
    return [f"clocks were not pinned: governor {', '.join(loose)}"] if loose else []


def _throttling(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    flags = sorted({*_flags(before), *_flags(after)})
    notes = [f"the board reports: {', '.join(flags)}"] if flags else []
    counted = before.get("thermal_throttle") or {}, after.get("thermal_throttle") or {}
    events = sum(count - counted[0].get(kind, count) for kind, count in counted[1].items())
    if events > 0:
        notes.append(f"the processor was throttled for heat {events} times while it was measured")
    return notes


def _temperature(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    start, end = _hottest(before), _hottest(after)
    if start is not None and end is not None and end - start > HOT_RISE:
        return [f"it became {end - start:.0f} °C hotter while it was measured ({start:.0f} to {end:.0f} °C)"]
    return []


def _threads(job: JobRow, facts: Mapping[str, Any]) -> list[str]:
    threads = (job.inputs.get("measure") or {}).get("threads")
    cores = facts.get("ansible_processor_nproc") or facts.get("ansible_processor_vcpus")
    if threads and cores and int(threads) > int(cores):
        return [f"{threads} threads on {cores} cores"]
    return []


def _spread(samples: list[float]) -> list[str]:
    if len(samples) < 8:
        return [f"only {len(samples)} samples"] if samples else []
    notes = []
    summary = summarise(samples)
    if mad(samples) > WIDE_SPREAD * summary.median:
        notes.append(f"samples spread widely: median deviation {mad(samples) / summary.median:.0%} of the median")
    half = len(samples) // 2
    early, late = summarise(samples[:half]), summarise(samples[-half:])
    apart = early.high < late.low or late.high < early.low
    if apart and abs(late.median - early.median) > DRIFT * summary.median:
        change = (late.median - early.median) / early.median
        notes.append(f"samples drift: the second half is {change:+.0%} against the first")
    return notes


def _first_load(conditions: Mapping[str, Any]) -> float | None:
    load = conditions.get("loadavg")
    return float(load[0]) if isinstance(load, list) and load else None


def _governors(conditions: Mapping[str, Any]) -> list[str]:
    return sorted({str(cpu["governor"]) for cpu in conditions.get("cpus") or [] if cpu.get("governor")})


def _clocks(conditions: Mapping[str, Any]) -> list[float]:
    return [cpu["cur_khz"] / 1000 for cpu in conditions.get("cpus") or [] if cpu.get("cur_khz")]


def _hottest(conditions: Mapping[str, Any]) -> float | None:
    degrees = [float(zone["celsius"]) for zone in conditions.get("thermal") or []]
    return max(degrees) if degrees else None


def _flags(conditions: Mapping[str, Any]) -> list[str]:
    """What a Raspberry Pi says is wrong right now."""
    return [str(flag).replace("_", " ") for flag in (conditions.get("throttled") or {}).get("now", [])]
