"""MetaSchedule's databases without TVM: two files in a folder, where a record names its workload by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from ..failures import JobError
from ..job import write_atomically
from .logs import RECORDS, WORKLOADS, Log, parse_lines
from .records import Record


def read_database(folder: Path) -> Log:
    """Its records, each named by its workload's hash instead of a number. Raises JobError (BadInput)."""
    lines, faults = read_workloads(folder)
    path = folder / RECORDS
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JobError("BadInput", f"{folder / RECORDS}: cannot be read: {error.strerror}") from error
    found = parse_lines("meta_schedule", data, folder / RECORDS)
    records = []
    for record in found.records:
        number = int(record.task)
        if number < len(lines):
            records.append(record._replace(task=lines[number][0]))
        else:
            faults.append(f"{folder / RECORDS}: a record of workload {number}, of which there are {len(lines)}")
    return Log("meta_schedule", records, faults + found.faults)


def read_workloads(folder: Path) -> Tuple[List[Tuple[str, str]], List[str]]:
    """(hash, line) of each workload, and faults. A line that is none ends the list: later numbers would be wrong."""
    path = folder / WORKLOADS
    found: List[Tuple[str, str]] = []
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JobError("BadInput", f"{path}: cannot be read: {error.strerror}") from error
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(raw.decode("utf-8"))
            found.append((str(row[0]), json.dumps(row)))
        except (ValueError, TypeError, IndexError, KeyError, RecursionError):
            return found, [f"{path}:{number}: no workload; records of this and later workloads are left out"]
    return found, []


def write_database(folder: Path, sources: Sequence[Path], records: List[Record]) -> None:
    """The records (as read_database gives them) with the workloads that they need, numbered anew."""
    workloads: Dict[str, str] = {}
    for source in sources:
        for name, line in read_workloads(source)[0]:
            workloads.setdefault(name, line)
    needed = sorted({record.task for record in records})
    numbers = {name: number for number, name in enumerate(needed)}
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps([numbers[record.task], json.loads(record.line)[1]]) for record in records]
    write_atomically(folder / WORKLOADS, "".join(f"{workloads[name]}\n" for name in needed).encode("utf-8"))
    write_atomically(folder / RECORDS, "".join(f"{line}\n" for line in lines).encode("utf-8"))
