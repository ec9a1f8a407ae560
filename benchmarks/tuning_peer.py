"""AutoTVM's own loop, as its tutorials have it: run by benchmarks/tuning.py inside the environment of relay-0.19.

    python tuning_peer.py '{"tasks": 4, "trials": 24, "tracker": 9190, "boards": 2, "target": {...}, "log": PATH}'

prints {"trials": N, "seconds": S} from the imported model to the last trial.
"""

import json
import sys
import time

import tvm
from tvm import autotvm
from tvm.autotvm.tuner import RandomTuner
from tvm.relay import testing


def main(settings):
    """Tune the heaviest tasks of SqueezeNet, each with `trials` random trials."""
    module, params = testing.squeezenet.get_workload(batch_size=1, version="1.1")
    target = tvm.target.Target(settings["target"])
    started = time.perf_counter()
    tasks = autotvm.task.extract_from_program(module["main"], target=target, params=params)
    tasks = sorted(tasks, key=lambda task: -task.flop)[: settings["tasks"]]
    builder = autotvm.LocalBuilder(timeout=60, n_parallel=settings["builders"], do_fork=True, build_func="default")
    runner = autotvm.RPCRunner(
        "board",
        "127.0.0.1",
        settings["tracker"],
        n_parallel=settings["boards"],
        number=1,
        repeat=1,
        min_repeat_ms=0,
        timeout=60,
        enable_cpu_cache_flush=False,
    )
    option = autotvm.measure_option(builder=builder, runner=runner)
    trials = 0
    for task in tasks:
        wanted = min(settings["trials"], len(task.config_space))
        tuner = RandomTuner(task)
        tuner.tune(wanted, measure_option=option, callbacks=[autotvm.callback.log_to_file(settings["log"])])
        trials += wanted
    print(json.dumps({"trials": trials, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
