"""Commands about tuning logs: tuning.list, merge, best, export, import. Sweeps write them, sweeps read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import command
from tvmops.paths import user_path

if TYPE_CHECKING:
    from tvmops.bench.tuning_logs import TuningLog

OUTPUT_HELP = "the log to write"


@command(name="list", help={"folder": "where logs are (default: .tvmops/tuning)", "json_": "as JSON"})
def list_(ctx: Any, folder: str = "", json_: bool = False) -> None:
    """Tuning logs with their method, workloads, target, tasks and trials."""
    from tvmops.bench.job_files import tuning_folder
    from tvmops.bench.tuning_logs import known_logs, read
    from tvmops.errors import ConfigError

    place = user_path(folder) if folder else tuning_folder()
    rows, unreadable = [], []
    for path in known_logs(place):
        try:
            rows.append(read(path))
        except ConfigError as error:
            unreadable.append(error)
    if json_:
        print(json.dumps([_summary(log) for log in rows], indent=1))
    elif not rows and not unreadable:
        print(f"no tuning logs in {place}; a sweep with 'tuning: [autotvm]' makes some")
    for log in [] if json_ else rows:
        print(f"{log.path}\n  {_words(log)}")
        _show_faults(log)
    if unreadable:
        raise unreadable[0]


@command(
    help={
        "log": "a log",
        "second": "another one",
        "more": "a further one (again for each)",
        "output": OUTPUT_HELP,
    },
    positional=["log", "second"],
    iterable=["more"],
)
def merge(ctx: Any, log: str, second: str, output: str = "", more: list[str] | None = None) -> None:
    """Put the trials of several logs into one, each trial once."""
    from tvmops.bench.tuning_logs import merge as merge_logs

    names = [user_path(name) for name in (log, second, *(more or []))]
    _written(merge_logs(names, _output(output)))


@command(help={"log": "a log", "output": OUTPUT_HELP}, positional=["log"])
def best(ctx: Any, log: str, output: str = "") -> None:
    """Keep the fastest trial of each task only."""
    from tvmops.bench.tuning_logs import best as best_of

    _written(best_of(user_path(log), _output(output)))


@command(
    help={"log": "a log of AutoTVM", "output": "e.g. arm_cpu_v0.08.log, the name that TVM looks for"},
    positional=["log"],
)
def export(ctx: Any, log: str, output: str = "") -> None:
    """Write the fastest trials as a file of tophub's."""
    from tvmops.bench.tuning_logs import export as export_log

    _written(export_log(user_path(log), _output(output)))


@command(
    name="import",
    help={"log": "a log from elsewhere: tophub's, or a colleague's", "name": "its name here (default: the file's)"},
    positional=["log"],
)
def import_(ctx: Any, log: str, name: str = "") -> None:
    """Copy a log beside those that sweeps made, where transfer learning finds it."""
    from tvmops.bench.job_files import tuning_folder
    from tvmops.bench.tuning_logs import bring

    _written(bring(user_path(log), tuning_folder(), name or None))


def _output(name: str) -> Path:
    from tvmops.errors import ConfigError

    if not name:
        raise ConfigError("--output is missing", "say which log is to be written")
    return user_path(name)


def _written(log: TuningLog) -> None:
    print(f"{log.path}: {_words(log)}")
    _show_faults(log)


def _words(log: TuningLog) -> str:
    identity = log.identity
    words = [log.method, f"{len(log.records)} trials of {log.tasks} tasks"]
    if log.failed:
        words.append(f"{log.failed} failed")
    if identity:
        versions = identity.get("versions") or {}
        words += [
            f"for {', '.join(identity.get('workloads') or {})}",
            f"target {json.dumps(identity.get('target'))}",
            f"{identity.get('stack')}, TVM {versions.get('tvm')}, LLVM {versions.get('llvm')}",
        ]
    return "; ".join(words)


def _show_faults(log: TuningLog) -> None:
    for fault in log.faults[:5]:
        print(f"  left out: {fault}")
    if len(log.faults) > 5:
        print(f"  and {len(log.faults) - 5} more lines")


def _summary(log: TuningLog) -> dict[str, Any]:
    return {
        "path": str(log.path),
        "method": log.method,
        "tasks": log.tasks,
        "trials": len(log.records),
        "failed": log.failed,
        "faults": list(log.faults),
        "identity": dict(log.identity),
    }


COMMANDS = [list_, merge, best, export, import_]
