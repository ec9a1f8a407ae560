"""Run in the environment of relay-0.19 with extra tuning: looks at TVM's own parts through the worker's code.

    python tuning_client.py

Prints one JSON object; test_tuning_relay.py says what must be in it.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import xgboost
from tvm import relay

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from worker_package import load_worker


def dense() -> Any:
    """One task of AutoTVM."""
    x, w = relay.var("x", shape=(4, 64)), relay.var("w", shape=(32, 64))
    module = tvm.IRModule.from_expr(relay.Function([x, w], relay.nn.dense(x, w)))
    parameters = {"w": tvm.nd.array(np.zeros((32, 64), dtype="float32"))}
    autotvm = importlib.import_module("tvmops_worker.tuning.autotvm")
    found = autotvm.extract(module, parameters, tvm.target.Target("llvm"))
    return next(task for task in found if task.name == "dense_pack.x86")


def fitted(autotvm: Any) -> list[float]:
    """What the cost model predicts after its first fit, which real runs reach after 64 trials."""
    task = dense()
    tuner = autotvm.make_tuner(task, "xgb", 8)
    draw = random.Random(1)
    places = [config.index for config in tuner.next_batch(8)]
    tuner.cost_model.fit(places, [draw.uniform(1e9, 1e10) for _ in places], 8)
    return [float(score) for score in tuner.cost_model.predict(places)]


def losses(autotvm: Any) -> dict[str, str]:
    """What is ranked with, by xgboost's version."""
    found, version = {"own": autotvm.loss_type()}, xgboost.__version__
    for other in ("1.7.6", "2.0.0", "3.2.0"):
        xgboost.__version__ = other
        found[other] = autotvm.loss_type()
    xgboost.__version__ = version
    return found


def main() -> None:
    load_worker()
    autotvm = importlib.import_module("tvmops_worker.tuning.autotvm")
    found: dict[str, Any] = {"losses": losses(autotvm), "fit": fitted(autotvm)}
    found["plan_sizes"] = [autotvm.plan_size(trials) for trials in (4, 64, 1000)]
    ansor = importlib.import_module("tvmops_worker.tuning.ansor")
    found["populations"] = [ansor.population(trials) for trials in (1, 64, 1000)]
    building = importlib.import_module("tvmops_worker.tuning.building_relay")
    found["builders_in_tuning"] = building.GLOBAL_SCOPE.in_tuning
    print(json.dumps(found))


if __name__ == "__main__":
    main()
