"""Does TVM's runtime library of a release load on this board, find its devices and compute rightly?

    python3 -I smoke.py RELEASE RESULT.json

Writes RESULT.json only when all is well; else exit status 1 (3 when only that cannot be written) and one line that says
what is not.
Standard library only, Python 3.5 or newer.
"""

import array
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # python3 -I leaves it out
import capi  # noqa: E402

LIBRARY = os.path.join("lib", "libtvm_runtime.so")
DEVICES = {"cpu": 1, "cuda": 2, "opencl": 4, "vulkan": 7, "metal": 8}  # DLDeviceType
EXIST = 0  # DeviceAttrKind
UNTOLD = 3  # exit status: the release is well, the board is not
HINTS = {signal.SIGILL: ": it was built for a processor with more instructions than this one has"}
OFF = ("OFF", "FALSE", "NO", "0", "", "N", "NOT-FOUND")


def main(arguments):
    """Exit status 0, 1 or 3."""
    # In a process of its own: a library for another processor ends it by a signal.
    child = os.fork()
    if child == 0:
        os._exit(look(*arguments))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name
        print("the runtime crashed with %s%s" % (name, HINTS.get(number, "")))
        return 1
    return os.WEXITSTATUS(status)


def look(release, result_path):
    """Load, try and describe the release's library; exit status 0, 1 or 3."""
    started = time.time()
    try:
        runtime = capi.Runtime(os.path.join(release, LIBRARY))
        seconds = time.time() - started
        information = runtime.library_info()
        problem = sorting_problem(runtime) or options_problem(information, _options(release))
        devices = [] if problem else sorted(name for name in DEVICES if exists(runtime, DEVICES[name]))
    except (OSError, AttributeError, capi.TvmError) as error:
        problem = "the runtime does not load or work here: %s" % " ".join(str(error).split())[:600]
    if not problem and "cpu" not in devices:
        problem = "the runtime finds no CPU device"
    if problem:
        print(problem)
        sys.stdout.flush()
        return 1
    fields = _version_file(os.path.join(release, "VERSION"))
    result = {
        "tvm": fields.get("tvm"),
        "import_seconds": round(seconds, 3),
        "devices": devices,
        "library_info": information,
    }
    try:
        partial = result_path + ".new"
        with open(partial, "w") as stream:
            json.dump(result, stream, sort_keys=True)
        os.rename(partial, result_path)
    except (IOError, OSError) as error:
        print("the runtime works, but that cannot be written down: %s" % error)
        sys.stdout.flush()
        return UNTOLD
    print(json.dumps(result, sort_keys=True))
    sys.stdout.flush()
    return 0


def exists(runtime, device_type):
    """Whether device 0 of this type can be used; a type that the library was built without cannot."""
    try:
        return bool(runtime.call("runtime.GetDeviceAttr", device_type, 0, EXIST))
    except capi.TvmError:
        return False


def sorting_problem(runtime):
    """What is wrong when the runtime sorts a few numbers; None when it does so rightly."""
    numbers = array.array("f", [3.0, -1.5, 7.25, 0.0, 2.0, -8.0])
    wanted = sorted(range(len(numbers)), key=numbers.__getitem__)
    if not runtime.has("tvm.contrib.sort.argsort"):
        return "the runtime was built without USE_SORT, which compiled models need"
    answer = array.array("i", [0] * len(numbers))
    source, target = runtime.array(numbers, "float", 32), runtime.array(answer, "int", 32)
    runtime.call("tvm.contrib.sort.argsort", source, target, 0, 1)
    runtime.read(target, answer)
    if answer.tolist() != wanted:
        return "the runtime computes wrongly: argsort gave %s, not %s" % (answer.tolist(), wanted)
    return None


def options_problem(information, options):
    """Which options of the release's manifest the library was built without or otherwise; None when all agree."""
    wrong = [
        "%s is %s, not %s" % (name, information[name], wanted)
        for name, wanted in sorted(options.items())
        if name in information and not same(information[name], wanted)
    ]
    return "the runtime is not what its manifest says: %s" % "; ".join(wrong) if wrong else None


def same(value, wanted):
    """Whether two values of a CMake option say the same; a path that was found counts as ON."""
    off = [str(text).strip().upper() in OFF for text in (value, wanted)]
    return off[0] == off[1]


def _options(release):
    with open(os.path.join(release, "manifest.json"), "rb") as stream:
        return json.loads(stream.read().decode("utf-8")).get("options", {})


def _version_file(path):
    with open(path) as stream:
        return dict(line.rstrip("\n").split("=", 1) for line in stream if "=" in line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
