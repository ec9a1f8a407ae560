"""The steps of a measurement on the board itself: those of the worker's measure job, in their order.

Standard library only, Python 3.5 or newer.
"""

import contextlib
import json
import math
import os
import platform
import time

from local_arrays import ArrayError, npy_bytes, read_reference
from local_compare import Failure, compare

LIBRARY = os.path.join("lib", "libtvm_runtime.so")


class Steps(object):
    """`seconds` fills up with the phases' durations; status.json says which one it is in."""

    def __init__(self, folder):
        self.folder = folder
        self.seconds = {}

    @contextlib.contextmanager
    def phase(self, name):
        """Times what happens inside."""
        write_json(os.path.join(self.folder, "status.json"), {"phase": name})
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - begin


def measure(folder, release):
    """What outcome.json holds of a run that went well. Raises Failure, and what TVM raises."""
    with open(os.path.join(folder, "job.json"), "rb") as stream:
        job = json.loads(stream.read().decode("utf-8"))
    settings, tolerance = job["measure"], job["tolerance"]
    steps = Steps(folder)
    try:
        inputs, expected = read_reference(os.path.join(folder, "reference.npz"))
    except ArrayError as error:
        raise Failure("BadInput", str(error))
    with steps.phase("connect"):
        model = model_of(release, job["device"])
    with steps.phase("load"):
        model.load(os.path.join(folder, "model.so"), inputs, settings["threads"])
    with steps.phase("first_run"):
        first = model.sample(1)
    with steps.phase("check"):
        outputs = model.outputs()
        compare(expected, outputs, tolerance["rtol"], tolerance["atol"])
        for index, tensor in enumerate(outputs):
            write(os.path.join(folder, "output_%d.npy" % index), npy_bytes(tensor))
    with steps.phase("warmup"):
        per_run = model.sample(max(1, settings["warmup"]))
        number = runs_per_sample(per_run, settings)
    with steps.phase("measure"):
        samples = [model.sample(number) for _ in range(settings["repeat"])]
    return {
        "ok": True,
        "first_run_seconds": first,
        "outputs": len(outputs),
        "warm_up_seconds_per_run": per_run,
        "runs_per_sample": number,
        "samples": samples,
        "seconds": steps.seconds,
        "peak_rss_bytes": peak_rss_bytes(),
        "python": platform.python_version(),
    }


def model_of(release, device):
    """What runs models with this release, on this device: the graph executor or the virtual machine. Raises Failure."""
    library = os.path.join(release, LIBRARY)
    if os.path.exists(library):
        from local_graph import GraphModel

        return GraphModel(library, device)
    from local_machine import MachineModel

    return MachineModel(device)


def runs_per_sample(seconds_per_run, settings):
    """How many runs make a sample that lasts min_repeat_ms, and at least `number`: as measure_job.py counts."""
    needed = math.ceil(settings["min_repeat_ms"] / 1000.0 / max(seconds_per_run, 1e-9))
    return max(settings["number"], needed)


def peak_rss_bytes():
    """The largest resident set of this process, in bytes."""
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def write_json(path, value):
    """In one step: a reader sees the whole of it or nothing."""
    write(path, json.dumps(value).encode("utf-8"))


def write(path, data):
    """In one step, and for good even if the power goes."""
    partial = path + ".new"
    with open(partial, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(partial, path)
