"""Does the runtime in a release load on this board, find its devices and compute rightly?

    python3 -s smoke.py RELEASE RESULT.json

Writes RESULT.json only when all is well; else exit status 1 (3 when only that cannot be written) and one line that says
what is not. A release that has a
test of its own (libexec/smoke.py: those that were built from sources) is tried by that; the others carry TVM's Python.
"""

import json
import math
import os
import platform
import sys
import time

TEMPERATURE = 2.0
UNTOLD = 3  # exit status: the release is well, the board is not
DEVICES = ("cpu", "cuda", "opencl", "vulkan", "metal")


def main(arguments):
    """Exit status 0, 1 or 3."""
    release, result_path = arguments
    own = os.path.join(release, "libexec", "smoke.py")
    if os.path.exists(own):
        os.execv(sys.executable, [sys.executable, "-I", own, release, result_path])
    fields = _version_file(os.path.join(release, "VERSION"))
    sys.path.insert(0, release)
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    started = time.time()
    try:
        import numpy
        import tvm
    except Exception as error:  # whatever hinders the import, the board's owner must read it
        print("the runtime does not load with Python %s: %r" % (platform.python_version(), error))
        return 1
    seconds = time.time() - started
    problem = _problem(tvm, numpy, fields, release)
    if problem:
        print(problem)
        return 1
    result = {"tvm": tvm.__version__, "import_seconds": round(seconds, 3), "devices": _devices(tvm)}
    try:
        partial = result_path + ".new"
        with open(partial, "w") as stream:
            json.dump(result, stream, sort_keys=True)
        os.rename(partial, result_path)
    except (IOError, OSError) as error:
        print("the runtime works, but that cannot be written down: %s" % error)
        return UNTOLD
    print(json.dumps(result, sort_keys=True))
    return 0


def _problem(tvm, numpy, fields, release):
    if not os.path.realpath(tvm.__file__).startswith(os.path.realpath(release) + os.sep):
        return "another TVM comes first: %s" % tvm.__file__
    if tvm.__version__ != fields.get("tvm"):
        return "the release says TVM %s, but it is %s" % (fields.get("tvm"), tvm.__version__)
    if not tvm.cpu(0).exist:
        return "the runtime finds no CPU device"
    values = (1.0, 2.0, 3.0, 4.0)
    tensor = tvm.runtime.tensor(numpy.array([values], dtype="float32"))
    tvm.get_global_func("vm.builtin.apply_softmax_with_temperature")(tensor, TEMPERATURE)  # in place
    answer = tensor.numpy().ravel()
    powers = [math.exp(value / TEMPERATURE) for value in values]
    wanted = [power / sum(powers) for power in powers]
    if any(abs(got - right) > 1e-5 for got, right in zip(answer, wanted)):
        return "the runtime computes wrongly: softmax gave %s, not %s" % (answer.tolist(), wanted)
    return None


def _devices(tvm):
    return [name for name in DEVICES if tvm.device(name, 0).exist]


def _version_file(path):
    with open(path) as stream:
        return dict(line.rstrip("\n").split("=", 1) for line in stream if "=" in line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
