"""A compiled model on Relax's virtual machine, by the TVM and numpy of the board's release.

Its own imports are of the standard library, for Python 3.5; TVM's Python asks for a newer one by itself.
"""

import time

from local_arrays import Tensor
from local_compare import Failure

FASTEST_CORES = 1  # mode of TVM's thread pool


class MachineModel(object):
    """One model on one device. TVM's own words come as whatever it raises."""

    def __init__(self, device):
        """Import TVM and find the device. Raises Failure."""
        try:
            import numpy
            import tvm
            from tvm.runtime.vm import VirtualMachine
        except Exception as error:  # whatever hinders the import, the board's owner must read it
            raise Failure("Board", "the TVM of the board's release cannot be imported: %r" % error)
        self._tvm, self._numpy, self._machine_of = tvm, numpy, VirtualMachine
        self._device = tvm.device(device, 0)
        if not self._device.exist:
            raise Failure("Board", "the board's runtime finds no device of type '%s'" % device)

    def load(self, path, inputs, threads):
        """Load the model's library and set `inputs`, (name, Tensor) each, which go by their order."""
        tvm, numpy = self._tvm, self._numpy
        tvm.get_global_func("runtime.config_threadpool")(FASTEST_CORES, threads)
        self._machine = self._machine_of(tvm.runtime.load_module(path), self._device)
        arrays = [numpy.frombuffer(tensor.data, _dtype(tensor.kind)).reshape(tensor.shape) for _, tensor in inputs]
        tensor_of = getattr(tvm.runtime, "tensor", None) or tvm.nd.array
        self._held = [tensor_of(array, self._device) for array in arrays]
        self._machine.set_input("main", *self._held)

    def outputs(self):
        """Those of the last run, as Tensors."""
        return [self._tensor(array) for array in _flat(self._machine.get_outputs("main"))]

    def sample(self, number):
        """Mean seconds per run over `number` runs; the device's work is awaited at their end."""
        run = self._machine.invoke_stateful
        begin = time.perf_counter()
        for _ in range(number):
            run("main")
        self._device.sync()
        return (time.perf_counter() - begin) / number

    def _tensor(self, array):
        array = self._numpy.ascontiguousarray(array)
        return Tensor("%s%d" % (array.dtype.kind, array.dtype.itemsize), array.shape, array.tobytes())


def _dtype(kind):
    return "|b1" if kind == "b1" else "<" + kind


def _flat(value):
    if isinstance(value, (tuple, list)) or type(value).__name__ == "Array":
        return [array for item in value for array in _flat(item)]
    return [value.numpy()]
