"""A compiled model on TVM's graph executor (0.8 to 0.19), by ctypes: neither TVM's Python nor numpy is needed.

Standard library only, Python 3.5 or newer.
"""

import os
import time

import capi
import local_capi
from local_arrays import Tensor
from local_compare import Failure

DEVICES = {"cpu": 1, "cuda": 2, "cl": 4, "vulkan": 7, "metal": 8, "rocm": 10, "ext_dev": 12}  # DLDeviceType
EXIST = 0  # DeviceAttrKind
INT, UINT, FLOAT, BOOL_BITS = 0, 1, 2, 1  # DLDataTypeCode
CODES = {"i": INT, "u": UINT, "f": FLOAT}
FASTEST_CORES = 1  # mode of TVM's thread pool


class GraphModel(object):
    """One model on one device. TVM's own words come as capi.TvmError."""

    def __init__(self, library, device):
        """Load the runtime and find the device, "cpu", "cl" and so on. Raises Failure."""
        try:
            self._runtime = local_capi.Runtime(library)
        except OSError as error:
            raise Failure("Board", "the board's TVM runtime does not load: %s" % error)
        except AttributeError:
            raise Failure(
                "Board",
                "the board's release has neither TVM's Python nor the C API of TVM 0.8 to 0.19, one of which a model "
                "needs to run on the board itself; measure by RPC (mode rpc)",
            )
        if not self._runtime.has("tvm.graph_executor.create"):
            raise Failure(
                "Board",
                "the board's runtime was built without the graph executor; build it with USE_GRAPH_EXECUTOR: ON",
            )
        self._device = local_capi.Device(DEVICES[device])
        try:
            there = bool(self._runtime.call("runtime.GetDeviceAttr", DEVICES[device], 0, EXIST))
        except capi.TvmError:  # the runtime was built without such devices
            there = False
        if not there:
            raise Failure("Board", "the board's runtime finds no device of type '%s'" % device)

    def load(self, path, inputs, threads):
        """Load the model's library and set `inputs`, (name, Tensor) each. Raises Failure."""
        runtime = self._runtime
        runtime.call("runtime.config_threadpool", FASTEST_CORES, threads)
        self._library = runtime.load_module(os.path.abspath(path))
        self._executor = runtime.function(self._library, "default")(self._device)
        index_of, place = (runtime.function(self._executor, name) for name in ("get_input_index", "set_input"))
        for name, tensor in inputs:
            if index_of(name) < 0:  # set_input would pass over it in silence
                raise Failure("BadInput", "the compiled model has no input '%s'" % name)
            place(name, runtime.tensor(tensor.shape, _type_code(tensor.kind), tensor.data))
        self._run = runtime.function(self._executor, "run")

    def outputs(self):
        """Those of the last run, as Tensors."""
        count = self._runtime.function(self._executor, "get_num_outputs")()
        one = self._runtime.function(self._executor, "get_output")
        found = []
        for index in range(count):
            shape, kind, data = self._runtime.content(one(index))
            found.append(Tensor(_kind(kind), shape, data))
        return found

    def sample(self, number):
        """Mean seconds per run over `number` runs; the device's work is awaited at their end."""
        begin = time.perf_counter()
        self._run.times(number)
        self._runtime.wait(self._device)
        return (time.perf_counter() - begin) / number


def _type_code(kind):
    if kind == "b1":
        return UINT, BOOL_BITS
    return CODES[kind[0]], 8 * int(kind[1:])


def _kind(code_and_bits):
    code, bits = code_and_bits
    if (code, bits) == (UINT, BOOL_BITS):
        return "b1"
    letters = {number: letter for letter, number in CODES.items()}
    if code not in letters or bits % 8:
        raise Failure("Board", "an output has a type (code %d, %d bits) that cannot be compared" % (code, bits))
    return "%s%d" % (letters[code], bits // 8)
