"""trtexec, TensorRT's own program: builds an engine of the ONNX model, runs it on given inputs, prints times.

Its times are those of the GPU's work for one inference ("GPU latency", "GPU Compute Time"), copies left out, as TVM's
time evaluator measures with the inputs on the device.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

PLACES = ("/usr/src/tensorrt/bin/trtexec", "/usr/local/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
NUMBER = r"([0-9.]+(?:e[+-]?[0-9]+)?)"
# "Average on 10 runs - GPU latency: 3.5 ms - Host latency: ..." (TensorRT 7), "Average over 10 runs is 3.5 ms" (older).
_AVERAGE = re.compile(r"Average (?:on|over) (\d+) runs(?: - GPU latency:| is) " + NUMBER + " ms")
# "GPU Compute Time: min = 5.3 ms, ..." since TensorRT 8.
_COMPUTE = re.compile(r"GPU Compute(?: Time)?: .*?mean =? ?" + NUMBER + " ms")
_VERSION = re.compile(r"TensorRT version: ([0-9.]+)|TensorRT[. ]v([0-9]{4,6})\b")
_ERROR = re.compile(r"\[E\] (.*)")
FAILED = "&&&& FAILED"
# What half precision may differ by: 11 bits of mantissa, summed over layers.
HALF = {"rtol": 2e-2, "atol": 1e-2}


class Absent(Exception):
    """This board has no trtexec."""

    kind = "Absent"


class Refused(Exception):
    """trtexec fails."""

    kind = "Board"


class Runner:
    """One engine, built once and kept in a folder of its own."""

    def __init__(self, files: List[str], inputs: Dict[str, Any], threads: int, fp16: bool = False) -> None:
        del threads
        self._program = find()
        self._scratch = tempfile.TemporaryDirectory()
        folder = Path(self._scratch.name)
        self._engine = str(folder / "engine")
        self._exported = folder / "outputs.json"
        if fp16:
            self.tolerance = HALF
        self.first_run_seconds = None  # type: Optional[float]
        self._fp16 = fp16
        feeds = []
        for number, (name, array) in enumerate(inputs.items()):
            path = folder / "input_{}".format(number)
            array.tofile(str(path))
            feeds.append("{}:{}".format(name, path))
        self._feeds = "--loadInputs=" + ",".join(feeds)
        build = ["--onnx=" + files[0], "--saveEngine=" + self._engine, *(["--fp16"] if fp16 else [])]
        self._text = self._run([*build, "--iterations=1", "--warmUp=0", "--duration=0"])

    def infer(self) -> List[Any]:
        """One run of the engine that tells its outputs."""
        text = self._run([*self._on_engine(1, 1), "--exportOutput={}".format(self._exported)])
        self.first_run_seconds = (samples_in(text) or [None])[0]  # type: ignore[list-item]
        return outputs_of(json.loads(self._exported.read_text()))

    def times(self, repeat: int, number: int) -> List[float]:
        """One run of the program; a sample is what it averages over `number` inferences."""
        text = self._run(self._on_engine(repeat, number))
        samples = samples_in(text)
        if len(samples) < repeat:
            raise Refused("trtexec told {} averages, {} were asked for: {}".format(len(samples), repeat, text[-300:]))
        return samples[-repeat:]

    def versions(self) -> Dict[str, str]:
        """TensorRT's."""
        return {"tensorrt": version_in(self._text) or "unknown"}

    def details(self) -> Dict[str, Any]:
        """What ran it."""
        return {"providers": ["tensorrt fp16" if self._fp16 else "tensorrt"]}

    def _on_engine(self, repeat: int, number: int) -> List[str]:
        iterations = ["--iterations={}".format(repeat * number), "--avgRuns={}".format(number)]
        return ["--loadEngine=" + self._engine, self._feeds, *iterations, "--warmUp=0", "--duration=0"]

    def _run(self, arguments: List[str]) -> str:
        done = subprocess.run(
            [self._program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0 or FAILED in text:
            found = _ERROR.findall(text)
            words = (found[0] if found else text.strip()[-300:]) or "no output"
            raise Refused("trtexec failed (exit status {}): {}".format(done.returncode, words[:400]))
        return text


def find() -> str:
    """The program, on the path or where NVIDIA's packages put it. Raises Absent."""
    found = shutil.which("trtexec") or next((place for place in PLACES if os.access(place, os.X_OK)), None)
    if found is None:
        raise Absent("this board has no trtexec: it comes with TensorRT (JetPack's package libnvinfer-bin)")
    return found


def samples_in(text: str) -> List[float]:
    """The averages that it printed, in seconds; where it printed none, the mean of its summary."""
    averages = [float(value) / 1000.0 for _, value in _AVERAGE.findall(text)]
    return averages or [float(value) / 1000.0 for value in _COMPUTE.findall(text)]


def version_in(text: str) -> Optional[str]:
    """ "8.6.3" of "TensorRT version: 8.6.3", "8.2.1" of "[TensorRT v8201]"."""
    for dotted, packed in _VERSION.findall(text):
        if dotted:
            return str(dotted)
        number = int(packed)
        # 8201 and 100300: two digits each for minor and patch, from 10.0 on three for the patch's half.
        if number >= 100000:
            return "{}.{}.{}".format(number // 10000, number // 100 % 100, number % 100)
        return "{}.{}.{}".format(number // 1000, number // 100 % 10, number % 100)
    return None


def outputs_of(exported: List[Dict[str, Any]]) -> List[Any]:
    """Arrays of what --exportOutput wrote: [{"name", "dimensions": "1x1000", "values": [...]}]."""
    import numpy

    outputs = []
    for one in exported:
        shape = one["dimensions"]
        sizes = [int(size) for size in shape.split("x")] if isinstance(shape, str) else shape
        outputs.append(numpy.asarray(one["values"], dtype=numpy.float32).reshape(sizes))
    return outputs
