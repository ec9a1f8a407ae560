"""Writes tuning logs without tuning, in TVM 0.19's own format: its first configuration of every task, as if measured.

    python relay_records.py JOB_FOLDER METHOD LOG [TASKS]

The job's folder has a saved module (relay.json, relay.params). Prints how many tasks there are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TOPHUB_LOCATION"] = "NONE"

import tvm
from tvm import auto_scheduler, autotvm, relay


def load(folder: Path) -> tuple[object, dict[str, object]]:
    mod = tvm.ir.load_json((folder / "relay.json").read_text())
    return mod, relay.load_param_dict((folder / "relay.params").read_bytes())


def by_autotvm(folder: Path, log: Path, limit: int) -> int:
    mod, params = load(folder)
    tasks = autotvm.task.extract_from_program(mod["main"], target="llvm", params=params)
    lines = []
    for task in tasks[:limit]:
        entity = task.config_space.get(0)
        seen = autotvm.measure.MeasureInput(task.target, task, entity)
        result = autotvm.measure.MeasureResult((0.001,), 0, 0.1, 1.0)
        lines.append(autotvm.record.encode(seen, result))
    log.write_text("\n".join(lines) + "\n")
    return len(tasks)


def by_ansor(folder: Path, log: Path, limit: int) -> int:
    mod, params = load(folder)
    tasks, _ = auto_scheduler.extract_tasks(mod["main"], params, tvm.target.Target("llvm"))
    log.touch()
    # Measuring would sort out the sampled schedules whose weights TVM cannot lay out anew; a softmax has no weights.
    for task in [task for task in tasks if "softmax" in task.desc][:limit]:
        policy = auto_scheduler.SketchPolicy(task, verbose=0, params={"sample_init_min_population": 2})
        first = policy.sample_initial_population()[0]
        result = auto_scheduler.MeasureResult([0.001], 0, "", 0.1, 1.0)
        auto_scheduler.save_records(str(log), [auto_scheduler.MeasureInput(task, first)], [result])
    return len(tasks)


if __name__ == "__main__":
    folder, method, log = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    limit = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
    print({"autotvm": by_autotvm, "ansor": by_ansor}[method](folder, log, limit))
