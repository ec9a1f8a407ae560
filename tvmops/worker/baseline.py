"""The same model in onnxruntime on the board itself. Copied there alone: it needs numpy, onnxruntime and nothing else.

    python3 baseline.py job.json model.onnx reference.npz

prints the job's result as one JSON line, also when it fails (exit status 1). Durations are seconds, sizes bytes.
"""

from __future__ import annotations

import json
import math
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

SCHEMA = 1


class Failure(Exception):
    """`kind` is one of the worker's failure kinds."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main(arguments: List[str]) -> int:
    """Runs and prints. Returns the exit status."""
    job: Dict[str, Any] = {}
    result: Dict[str, Any] = {"schema": SCHEMA, "kind": "baseline", "ok": True}
    try:
        if len(arguments) != 3:
            raise Failure("BadInput", "usage: baseline.py job.json model.onnx reference.npz")
        job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        result.update(measure(job, arguments[1], arguments[2]))
    except Failure as failure:
        result.update(ok=False, error={"kind": failure.kind, "message": str(failure)})
    except ImportError as error:
        result.update(ok=False, error={"kind": "BadInput", "message": f"this board has no {error.name}; provision it"})
    except Exception as error:
        result.update(ok=False, error={"kind": "Internal", "message": f"{type(error).__name__}: {error}"[:500]})
    result["key"] = job.get("key")
    print(json.dumps(result), flush=True)
    return 0 if result["ok"] else 1


def measure(job: Dict[str, Any], model: str, reference: str) -> Dict[str, Any]:
    """Load, run, compare, and only then time: the order and the loops of the worker's measure job."""
    import numpy
    import onnxruntime

    settings = {"warmup": 3, "repeat": 20, "number": 1, "min_repeat_ms": 50, "threads": 1, **job.get("measure", {})}
    seconds: Dict[str, float] = {}
    begin = time.perf_counter()
    with numpy.load(reference, allow_pickle=False) as stored:
        meta = json.loads(stored["meta"].tobytes().decode("utf-8"))
        inputs = [stored[f"input_{i}"] for i in range(len(meta["inputs"]))]
        expected = [stored[f"output_{i}"] for i in range(len(meta["outputs"]))]
    session = open_session(onnxruntime, model, settings["threads"])
    seconds["load"] = time.perf_counter() - begin
    feeds = {value.name: array for value, array in zip(session.get_inputs(), inputs)}

    begin = time.perf_counter()
    outputs = session.run(None, feeds)
    first_run = seconds["first_run"] = time.perf_counter() - begin
    tolerance = {"rtol": 1e-3, "atol": 1e-4, **(job.get("workload", {}).get("tolerance") or {})}
    found = compare(numpy, dict(zip(meta["outputs"], zip(expected, outputs))), tolerance)

    begin = time.perf_counter()
    per_run = sample(session, feeds, max(1, settings["warmup"]))
    seconds["warmup"] = time.perf_counter() - begin
    number = max(settings["number"], math.ceil(settings["min_repeat_ms"] / 1000 / max(per_run, 1e-9)))
    begin = time.perf_counter()
    samples = [sample(session, feeds, number) for _ in range(settings["repeat"])]
    seconds["measure"] = time.perf_counter() - begin
    return {
        "samples": samples,
        "runs_per_sample": number,
        "warmup": settings["warmup"],
        "threads": settings["threads"],
        "first_run_seconds": first_run,
        "differences": found,
        "tolerance": tolerance,
        "task_check": None,
        "input_sha256": meta["input_sha256"],
        "providers": session.get_providers(),
        "seconds": seconds,
        "versions": {
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def open_session(onnxruntime: Any, model: str, threads: int) -> Any:
    """onnxruntime with all its optimisations, on the CPU, with as many threads as TVM gets."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Failure(
            "NotOnnx", f"onnxruntime refuses the model: {str(error).strip().splitlines()[0][:400]}"
        ) from error


def sample(session: Any, feeds: Dict[str, Any], number: int) -> float:
    """Mean seconds per run over `number` runs."""
    begin = time.perf_counter()
    for _ in range(number):
        session.run(None, feeds)
    return (time.perf_counter() - begin) / number


def compare(numpy: Any, pairs: Dict[str, Any], tolerance: Dict[str, float]) -> Dict[str, Dict[str, float]]:
    """The largest differences per output. Raises Failure (WrongOutput) beyond the tolerance."""
    found = {}
    for name, (expected, actual) in pairs.items():
        if expected.shape != actual.shape:
            raise Failure("WrongOutput", f"output '{name}' has shape {actual.shape}, the reference {expected.shape}")
        gap = numpy.abs(actual.astype(numpy.float64) - expected.astype(numpy.float64))
        scale = numpy.maximum(numpy.abs(expected.astype(numpy.float64)), max(tolerance["atol"], 1e-300))
        found[name] = {"max_abs": float(gap.max(initial=0.0)), "max_rel": float((gap / scale).max(initial=0.0))}
        if not numpy.allclose(actual, expected, rtol=tolerance["rtol"], atol=tolerance["atol"], equal_nan=True):
            raise Failure(
                "WrongOutput", f"output '{name}' differs from the reference by up to {found[name]['max_abs']:.3g}"
            )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
