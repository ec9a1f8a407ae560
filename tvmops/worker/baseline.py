"""The same model in another runtime on the board itself. Copied there with one file of runtimes/: it needs numpy, that
runtime and nothing else, and Python 3.6.

    python3 baseline.py job.json MODEL... reference.npz

prints the job's result as one JSON line, also when it fails (exit status 1). Durations are seconds, sizes bytes.
"""

import importlib.util
import json
import math
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

SCHEMA = 1
HERE = Path(__file__).resolve().parent
# Runtime -> the file of runtimes/ that runs it, and settings of its own.
RUNTIMES = {
    "onnxruntime": ("onnxruntime", {}),
    "torch": ("torch", {}),
    "mxnet": ("mxnet", {}),
    "trtexec": ("trtexec", {}),
    "trtexec-fp16": ("trtexec", {"fp16": True}),
}  # type: Dict[str, Any]


class Failure(Exception):
    """`kind` is one of the worker's failure kinds, or Absent: the board does not have this runtime."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main(arguments: List[str]) -> int:
    """Runs and prints. Returns the exit status."""
    job = {}  # type: Dict[str, Any]
    result = {"schema": SCHEMA, "kind": "baseline", "ok": True}  # type: Dict[str, Any]
    try:
        if len(arguments) < 3:
            raise Failure("BadInput", "usage: baseline.py job.json MODEL... reference.npz")
        job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        result.update(measure(job, arguments[1:-1], arguments[-1]))
    except Failure as failure:
        result.update(ok=False, error={"kind": failure.kind, "message": str(failure)})
    except ImportError as error:
        words = "this board's Python ({}) has no {}".format(sys.executable, error.name)
        result.update(ok=False, error={"kind": "Absent", "message": words})
    except Exception as error:
        # A runtime tells what went wrong by the attribute `kind`; it cannot import this file's Failure.
        kind = getattr(error, "kind", "Internal")
        words = str(error) if kind != "Internal" else "{}: {}".format(type(error).__name__, error)
        result.update(ok=False, error={"kind": kind, "message": words[:500]})
    result["key"] = job.get("key")
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1


def measure(job: Dict[str, Any], files: List[str], reference: str) -> Dict[str, Any]:
    """Load, run, compare, and only then time: the order and the loops of the worker's measure job."""
    import numpy

    settings = {"warmup": 3, "repeat": 20, "number": 1, "min_repeat_ms": 50, "threads": 1}
    settings.update(job.get("measure", {}))
    name = job.get("runtime") or "onnxruntime"
    seconds = {}  # type: Dict[str, float]
    begin = time.perf_counter()
    with numpy.load(reference, allow_pickle=False) as stored:
        meta = json.loads(stored["meta"].tobytes().decode("utf-8"))
        inputs = {key: stored["input_{}".format(i)] for i, key in enumerate(meta["inputs"])}
        expected = [stored["output_{}".format(i)] for i in range(len(meta["outputs"]))]
    runner = open_runner(name, files, inputs, settings)
    seconds["load"] = time.perf_counter() - begin

    begin = time.perf_counter()
    outputs = runner.infer()
    seconds["first_run"] = time.perf_counter() - begin
    tolerance = {"rtol": 1e-3, "atol": 1e-4}
    tolerance.update(job.get("workload", {}).get("tolerance") or {})
    tolerance.update(getattr(runner, "tolerance", {}))
    found = compare(numpy, meta["outputs"], expected, outputs, tolerance)

    begin = time.perf_counter()
    per_run = times(runner, 1, max(1, settings["warmup"]))[0]
    seconds["warmup"] = time.perf_counter() - begin
    number = max(settings["number"], math.ceil(settings["min_repeat_ms"] / 1000 / max(per_run, 1e-9)))
    begin = time.perf_counter()
    samples = times(runner, settings["repeat"], number)
    seconds["measure"] = time.perf_counter() - begin
    result = {
        "runtime": name,
        "samples": samples,
        "runs_per_sample": number,
        "warmup": settings["warmup"],
        "threads": settings["threads"],
        "first_run_seconds": getattr(runner, "first_run_seconds", None) or seconds["first_run"],
        "differences": found,
        "tolerance": tolerance,
        "task_check": None,
        "input_sha256": meta["input_sha256"],
        "seconds": seconds,
        "versions": {"python": platform.python_version(), "numpy": numpy.__version__},
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    result["versions"].update(runner.versions())
    result.update(runner.details())
    return result


def open_runner(name: str, files: List[str], inputs: Dict[str, Any], settings: Dict[str, Any]) -> Any:
    """The runtime's Runner: `infer` gives the outputs; `times`, where it has one, takes the times by itself."""
    if name not in RUNTIMES:
        raise Failure("BadInput", "unknown runtime '{}'; known: {}".format(name, ", ".join(sorted(RUNTIMES))))
    module_name, extra = RUNTIMES[name]
    path = HERE / "runtimes" / (module_name + ".py")
    spec = importlib.util.spec_from_file_location("runtime_" + module_name, str(path))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    # This file's folder is not searched for modules: its names would shadow those of packages.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != HERE]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module.Runner(files, inputs, settings["threads"], **extra)


def times(runner: Any, repeat: int, number: int) -> List[float]:
    """`repeat` samples: mean seconds per run over `number` runs."""
    if hasattr(runner, "times"):
        return list(runner.times(repeat, number))
    samples = []
    for _ in range(repeat):
        begin = time.perf_counter()
        for _ in range(number):
            runner.infer()
        samples.append((time.perf_counter() - begin) / number)
    return samples


def compare(
    numpy: Any, names: List[str], expected: List[Any], outputs: List[Any], tolerance: Dict[str, float]
) -> Dict[str, Dict[str, float]]:
    """The largest differences per output. Raises Failure (WrongOutput) beyond the tolerance."""
    if len(outputs) != len(expected):
        raise Failure("WrongOutput", "{} outputs came back, the reference has {}".format(len(outputs), len(expected)))
    found = {}
    for name, want, have in zip(names, expected, outputs):
        if want.shape != have.shape:
            raise Failure(
                "WrongOutput", "output '{}' has shape {}, the reference {}".format(name, have.shape, want.shape)
            )
        gap = numpy.abs(have.astype(numpy.float64) - want.astype(numpy.float64))
        scale = numpy.maximum(numpy.abs(want.astype(numpy.float64)), max(tolerance["atol"], 1e-300))
        found[name] = {"max_abs": float(gap.max(initial=0.0)), "max_rel": float((gap / scale).max(initial=0.0))}
        if not numpy.allclose(have, want, rtol=tolerance["rtol"], atol=tolerance["atol"], equal_nan=True):
            words = "output '{}' differs from the reference by up to {:.3g}".format(name, found[name]["max_abs"])
            raise Failure("WrongOutput", words)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
