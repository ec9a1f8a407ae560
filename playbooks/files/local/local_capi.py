"""What running a model needs of TVM's C API beyond capi.py: functions of modules, devices, arrays of any shape.

Apart from capi.py, which is part of every release built from sources: a changed file there makes new releases.
Standard library only, Python 3.5 or newer.
"""

import ctypes

import capi

DEVICE = 6  # TVMArgTypeCode
BYTE = 8  # bits


class Device(capi.Handle):
    """A device as an argument: {type, index} in one number."""

    def __init__(self, kind, index=0):
        capi.Handle.__init__(self, kind | index << 32, DEVICE, lambda _pointer: None)
        self.kind = kind
        self.index = index


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


SIGNATURES = {
    "TVMModGetFunction": [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)],
    "TVMSynchronize": [ctypes.c_int, ctypes.c_int, ctypes.c_void_p],
}


class Runtime(capi.Runtime):
    """A loaded libtvm_runtime.so that can run models."""

    def __init__(self, path):
        """Raises OSError when it cannot be loaded, AttributeError when it is not TVM 0.8 to 0.19."""
        capi.Runtime.__init__(self, path)
        for name, types in SIGNATURES.items():
            function = getattr(self.library, name)
            function.argtypes, function.restype = types, ctypes.c_int

    def function(self, module, name):
        """A Call of the module's function. Raises TvmError when it has none of that name."""
        handle = ctypes.c_void_p()
        self._check(self.library.TVMModGetFunction(module.pointer, name.encode(), 0, ctypes.byref(handle)))
        if not handle.value:
            raise capi.TvmError("the module has no function %s" % name)
        return Call(self, capi.Handle(handle.value, capi.FUNCTION, self.library.TVMFuncFree))

    def tensor(self, shape, kind, data):
        """An array on the CPU; `kind` is (code, bits) of its type, `data` its bytes."""
        lengths, handle = (ctypes.c_int64 * len(shape))(*shape), ctypes.c_void_p()
        code, bits = kind
        made = self.library.TVMArrayAlloc(lengths, len(shape), code, bits, 1, capi.CPU, 0, ctypes.byref(handle))
        self._check(made)
        tensor = capi.Handle(handle.value, capi.DLTENSOR, self.library.TVMArrayFree)
        if data:
            address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
            self._check(self.library.TVMArrayCopyFromBytes(tensor.pointer, address, len(data)))
        return tensor

    def content(self, tensor):
        """(shape, (code, bits), bytes) of an array on any device. Raises TvmError for vector types."""
        found = ctypes.cast(tensor.pointer, ctypes.POINTER(_DLTensor)).contents
        if found.lanes != 1:
            raise capi.TvmError("an output has a type of %d lanes" % found.lanes)
        shape = tuple(found.shape[axis] for axis in range(found.ndim))
        size = (found.bits + BYTE - 1) // BYTE
        for length in shape:
            size *= length
        memory = ctypes.create_string_buffer(max(size, 1))
        if size:
            address = ctypes.cast(memory, ctypes.c_void_p)
            self._check(self.library.TVMArrayCopyToBytes(tensor.pointer, address, size))
        return shape, (found.code, found.bits), memory.raw[:size]

    def wait(self, device):
        """Until the device has done all that it was given."""
        self._check(self.library.TVMSynchronize(device.kind, device.index, None))


class Call(object):
    """A function of a module."""

    def __init__(self, runtime, function):
        self._runtime = runtime
        self._function = function

    def __call__(self, *arguments):
        """Its result. Raises TvmError."""
        kept = []
        values, codes = (capi.Value * len(arguments))(), (ctypes.c_int * len(arguments))()
        for index, argument in enumerate(arguments):
            codes[index] = capi._put(values[index], argument, kept)
        result, code = capi.Value(), ctypes.c_int(capi.NULL)
        done = self._runtime.library.TVMFuncCall(
            self._function.pointer, values, codes, len(arguments), ctypes.byref(result), ctypes.byref(code)
        )
        self._runtime._check(done)
        return self._runtime._take(result, code.value)

    def times(self, number):
        """Call it without arguments, `number` times, with as little as possible between. Raises TvmError."""
        call, pointer = self._runtime.library.TVMFuncCall, self._function.pointer
        result, code = capi.Value(), ctypes.c_int(capi.NULL)
        out, kind = ctypes.byref(result), ctypes.byref(code)
        for _ in range(number):
            if call(pointer, None, None, 0, out, kind) != 0:
                self._runtime._check(-1)
