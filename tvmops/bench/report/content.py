"""The parts that every form of the report shares: tables as text, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvmops
from tvmops.bench.evidence import condition_values
from tvmops.bench.report.picture import Picture
from tvmops.bench.report.rows import compile_target
from tvmops.bench.report.words import NONE, TIMES, TO, count, day_and_time, duration, milliseconds, plain_value, size


@dataclass(frozen=True)
class Table:
    """A table of texts. `numeric` says which columns are aligned right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]


OPERATORS = 10  # of a profile are shown
UNFINISHED = {
    "failed": "Some jobs of this sweep failed: their numbers are missing.",
    "interrupted": "This sweep was interrupted: some numbers are missing.",
    "running": "This sweep has not ended: some numbers are missing.",
}

FACT_ROWS = (
    ("Model", ("tvmops_device_tree_model", "ansible_product_name")),
    ("Processor", ("tvmops_cpu", "ansible_processor")),
    ("Cores", ("ansible_processor_vcpus", "ansible_processor_nproc")),
    ("Architecture", ("ansible_machine", "ansible_architecture")),
    ("Memory, MB", ("ansible_memtotal_mb",)),
    ("System", ("ansible_distribution",)),
    ("Kernel", ("ansible_kernel",)),
    ("glibc", ("tvmops_glibc",)),
    ("Python", ("ansible_python_version",)),
)


def summary_sentence(picture: Picture) -> str:
    """What was measured, on what, when, with what."""
    hosts = {row.host for row in picture.rows if row.tvm is not None}
    tvm = picture.versions.get("tvm")
    stacks = sorted({timing.job.stack for timing in picture.compiles})
    using = f"TVM {tvm}" if tvm else f"stack {', '.join(stacks)}" if stacks else "TVM"
    when = day_and_time(picture.sweep.started)
    what = f"{count(len(picture.workloads), 'model')} on {count(len(hosts), 'host')}"
    against = _baseline(picture)
    compared = f", compared with {against} on the same hosts" if against else ""
    return f"{what}, compiled with {using}{compared}. {when}."


def compile_table(picture: Picture) -> Table:
    """Seconds per phase and size of what came out, per compile job."""
    good = [timing for timing in picture.compiles if timing.job.ok]
    phases = list(dict.fromkeys(phase for timing in good for phase in timing.job.phases))
    rows = []
    for timing in good:
        seconds = [timing.job.phases.get(phase) for phase in phases]
        cells = [NONE if value is None else f"{value:.2f}" for value in seconds]
        total = sum(value for value in seconds if value is not None)
        rows.append(
            [timing.job.workload, compile_target(timing), *cells, f"{total:.2f}", size(timing.job.artifact_bytes)]
        )
    columns = ["Model", "Target", *(phase.replace("_", " ") for phase in phases), "total, s", "artifact"]
    return Table(columns, rows, [False, False, *[True] * (len(phases) + 2)])


def hosts_table(picture: Picture) -> Table:
    """One column per host."""
    hosts = sorted(picture.hosts)
    rows = []
    for label, names in FACT_ROWS:
        values = [_fact(picture.hosts[host], names) for host in hosts]
        if any(value != NONE for value in values):
            rows.append([label, *values])
    if picture.shared_hosts:
        shared = ["yes" if host in picture.shared_hosts else "no" for host in hosts]
        rows.append(["Shares this machine's processor", *shared])
    return Table(["", *hosts], rows, [False] * (len(hosts) + 1))


def conditions_table(picture: Picture) -> Table:
    """Conditions around the measurements, per host: the range of what was seen."""
    seen: dict[str, dict[str, list[Any]]] = {}
    for row in picture.rows:
        for timing in (row.tvm, row.baseline):
            for found in (timing.job.conditions_before, timing.job.conditions_after) if timing else ():
                for name, value in condition_values(found or {}).items():
                    seen.setdefault(row.host, {}).setdefault(name, []).append(value)
    columns = list(dict.fromkeys(name for values in seen.values() for name in values))
    rows = [[host, *(_span(values.get(name, [])) for name in columns)] for host, values in sorted(seen.items())]
    return Table(["Host", *columns], rows if columns else [], [False, *[True] * len(columns)])


def provenance_table(picture: Picture) -> Table:
    """Versions, commits and hashes: enough to do it again."""
    rows = [[name, version] for name, version in picture.versions.items()]
    rows.append(["tvmops", tvmops.__version__])
    if picture.commits:
        rows.append(["project commit", ", ".join(picture.commits)])
    rows.append(["stack", ", ".join(sorted({timing.job.stack for timing in picture.compiles}))])
    for target in _targets(picture):
        rows.append(["target", target])
    rows.append(["sweep file", picture.sweep.path])
    rows.append(["sweep run", f"{picture.sweep.id} ({picture.sweep.status}), {_length(picture)}"])
    return Table(["What", "Value"], rows, [False, False])


def hashes_table(picture: Picture) -> Table:
    """Which bytes were measured."""
    rows = []
    for timing in picture.compiles:
        job = timing.job
        hashes = [job.model_sha256, job.input_sha256, job.artifact_sha256]
        rows.append([job.workload, compile_target(timing), *((value or NONE)[:16] for value in hashes)])
    return Table(["Model", "Target", "model sha256", "input sha256", "artifact sha256"], rows, [False] * 5)


def references_table(picture: Picture) -> Table:
    """Numbers of others beside ours, ms per inference; empty when the sweep file has none."""
    references = picture.sweep.definition.get("references") or []
    rows = []
    for row in picture.rows:
        values = [reference["seconds"].get(row.workload) for reference in references]
        if any(value is not None for value in values):
            own = milliseconds(row.tvm.summary.median) if row.tvm and row.tvm.summary else row.missing
            cells = [NONE if value is None else milliseconds(value) for value in values]
            cold = row.tvm.job.details.get("first_run_seconds") if row.tvm else None
            first = NONE if cold is None else milliseconds(cold)
            rows.append([row.workload, row.host, row.variant or NONE, own, first, *cells])
    labels = [f"{reference['label']}, ms" for reference in references]
    columns = ["Model", "Host", "Variant", "here, ms", "its first, cold run, ms", *labels]
    return Table(columns, rows, [False] * 3 + [True] * (len(columns) - 3))


def references_sources(picture: Picture) -> list[str]:
    """Where the numbers of others are from."""
    references = picture.sweep.definition.get("references") or []
    return [f"{reference['label']}: {reference['source']}" for reference in references if reference["source"]]


def tuning_table(picture: Picture) -> Table:
    """A line per task that was tuned."""
    rows = []
    for timing in picture.tunes:
        for task in timing.job.details.get("tasks") or []:
            best = task.get("best_gflops")
            counts = [str(task.get(name, 0)) for name in ("measured", "reused", "failed")]
            what = (timing.job.workload, compile_target(timing), str(timing.job.inputs["method"]), str(task["name"]))
            rows.append([*what, *counts, NONE if best is None else f"{best:.1f}"])
    columns = ["Model", "Target", "Method", "Task", "measured", "from the log", "failed", "best GFLOPS"]
    return Table(columns, rows, [False] * 4 + [True] * 4)


def operators_table(picture: Picture) -> Table:
    """The slowest operators of every profiled measurement."""
    rows = []
    for row in picture.rows:
        found = (row.tvm.job.details.get("profile") if row.tvm else None) or []
        total = sum(operator["seconds"] for operator in found) or 1.0
        for operator in sorted(found, key=lambda one: -one["seconds"])[:OPERATORS]:
            share = f"{operator['seconds'] / total:.0%}"
            cells = [milliseconds(operator["seconds"]), share, str(operator["calls"])]
            rows.append([row.workload, row.host, row.variant or NONE, str(operator["operator"]), *cells])
    columns = ["Model", "Host", "Variant", "Operator", "ms", "share", "calls"]
    return Table(columns, rows, [False] * 4 + [True] * 3)


def failures(picture: Picture) -> list[tuple[str, str, str]]:
    """(what, kind, message) of every failed job."""
    found = []
    for job in picture.failures:
        what = f"{job.kind} {job.workload}" + (f" on {job.host}" if job.host else "")
        found.append((what, job.error_kind or "Internal", job.error_message or ""))
    return found


def how_measured(picture: Picture) -> list[str]:
    """Sentences that say what the numbers mean."""
    threads = sorted({int(row.tvm.job.inputs["measure"]["threads"]) for row in picture.rows if row.tvm is not None})
    used = f"{threads[0]} threads" if threads and threads[0] > 1 else "1 thread"
    if len(threads) > 1:
        used = f"{' or '.join(map(str, threads))} threads, as the host has them"
    lines = [
        f"Each number is the median of {setting(picture, 'repeat')} samples after {setting(picture, 'warmup')} warm-up "
        f"runs. A sample is the mean of as many consecutive inferences as fill {setting(picture, 'min_repeat_ms')} ms "
        f"(at least {setting(picture, 'number')}). Both runtimes used {used}, the same inputs and the same settings.",
        "The board's output was compared with that of the model's own framework before anything was timed; a model "
        "whose output differs is a failure and has no number.",
        *_tuning_sentence(picture),
        "Intervals are 95 % bootstrap confidence intervals. They describe these samples only, and cannot know of "
        "another day, another board or another room temperature.",
    ]
    if len(picture.rows) and any(row.baseline for row in picture.rows):
        lines.insert(
            3,
            f"The ratio divides TVM's median by {picture.first_runtime}'s on the same host: 2.00{TIMES} takes twice as "
            "long.",
        )
    return lines


def _tuning_sentence(picture: Picture) -> list[str]:
    if all(row.tuning in ("", "untuned") for row in picture.rows):
        return ["TVM's code is untuned: compiled by the default pipeline, with no search for faster schedules."]
    return ["Untuned code is compiled by the default pipeline; tuned code uses the fastest schedules of its log."]


def setting(picture: Picture, name: str) -> str:
    """The measure setting `name` as jobs used it, e.g. "10", or "3 or 10" where hosts differ."""
    used = {int(row.tvm.job.inputs["measure"][name]) for row in picture.rows if row.tvm is not None}
    return " or ".join(map(str, sorted(used or {int(picture.sweep.definition["measure"][name])})))


def caveats(picture: Picture) -> list[str]:
    """What a reader must not conclude."""
    found = []
    if picture.shared_hosts:
        names = ", ".join(sorted(picture.shared_hosts))
        found.append(
            f"The processor of {names} is that of the machine that ran the sweep (virtual boards, or that machine "
            "itself). The numbers compare two runtimes on the same host; they say nothing about any real board."
        )
    if picture.sweep.status in UNFINISHED:
        found.append(UNFINISHED[picture.sweep.status])
    for row in picture.rows:
        found += [f"{row.workload} on {row.host}: {note}" for note in row.notes]
    return _merged(found)


def _merged(lines: Sequence[str]) -> list[str]:
    """The same note about many measurements becomes one line."""
    about: dict[str, list[str]] = {}
    plain: list[str] = []
    for line in lines:
        subject, colon, note = line.partition(": ")
        if colon and " on " in subject:
            about.setdefault(note, []).append(subject)
        else:
            plain.append(line)
    for note, subjects in about.items():
        shown = ", ".join(subjects[:3]) + (f" and {len(subjects) - 3} more" if len(subjects) > 3 else "")
        plain.append(f"{note} ({shown})")
    return plain


def _baseline(picture: Picture) -> str:
    named = []
    for runtime in picture.timed_runtimes:
        version = picture.versions.get(runtime)
        named.append(f"{runtime} {version}" if version else runtime)
    return " and ".join(named)


def _fact(facts: dict[str, Any], names: Sequence[str]) -> str:
    for name in names:
        value = facts.get(name)
        if name == "tvmops_cpu" and isinstance(value, dict):
            value = value.get("model")
        if name == "ansible_processor" and isinstance(value, list):
            # Ansible's list is number, vendor, model for each core.
            value = value[2] if len(value) > 2 else value[-1] if value else None
        if name == "ansible_distribution" and value:
            release = facts.get("ansible_distribution_release")
            value = f"{value} {facts.get('ansible_distribution_version', '')}" + (f" ({release})" if release else "")
        if value not in (None, "", "NA", [], {}):
            return plain_value(value)
    return NONE


def _span(values: Sequence[Any]) -> str:
    """Lowest and highest number, or every text that was seen."""
    numbers = [value for value in values if isinstance(value, float)]
    if not numbers:
        return ", ".join(sorted({str(value) for value in values})) or NONE
    low, high = f"{min(numbers):.4g}", f"{max(numbers):.4g}"
    return low if low == high else f"{low}{TO}{high}"


def _targets(picture: Picture) -> list[str]:
    found: dict[str, None] = {}
    for timing in picture.compiles:
        found[plain_value(timing.provenance.target or {})] = None
    return list(found)


def _length(picture: Picture) -> str:
    return "still running" if picture.sweep.seconds is None else f"took {duration(picture.sweep.seconds)}"
